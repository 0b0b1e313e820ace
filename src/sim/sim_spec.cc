// SPDX-License-Identifier: Apache-2.0
#include "sim/sim_spec.h"

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <set>

#include <fmt/format.h>

#include "base/text.h"
#include "base/yaml.h"
#include "device/allocation_codec.h"
#include "device/inventory_codec.h"
#include "sim/yaml_section.h"

namespace partage::sim {
namespace {

using device::Device;
using device::Mode;
using device::NodeInventory;

constexpr std::int32_t kMostNodes = 100'000;
constexpr std::int32_t kMostDevices = 64;
constexpr std::int32_t kMostMib = std::numeric_limits<std::int32_t>::max();
constexpr std::int32_t kAcrossNuma = 10, kWithinNuma = 30, kPerNvlink = 100;

/// One entry of a node's `devices`: its devices lie in [first, first + count) of the node's.
struct DeviceGroup {
  std::size_t first = 0;
  std::int32_t nvlinks = 0;
};

/// A node entry, before its names are filled in.
struct NodeTemplate {
  k8s::StringMap annotations;
  NodeInventory inventory;
  std::vector<std::size_t> group_of;  ///< per device
  std::vector<DeviceGroup> groups;
};

/// "a100-#" with 7 is "a100-7", "n###" is "n007". A name without # is itself.
std::string Numbered(std::string_view pattern, std::int32_t number) {
  std::string name;
  for (std::size_t at = 0; at < pattern.size();) {
    const std::size_t end = std::min(pattern.find_first_not_of('#', at), pattern.size());
    if (end == at) {
      name += pattern[at++];
      continue;
    }
    name += fmt::format("{:0{}}", number, end - at);
    at = end;
  }
  return name;
}

Mode ModeOf(const Section& section) {
  static const std::map<std::string, Mode, std::less<>> modes = {
      {"shared", Mode::kShared}, {"exclusive", Mode::kExclusive}, {"mig", Mode::kMig}, {"mps", Mode::kMps}};
  const std::string word = section.Text("mode", "shared");
  const auto mode = modes.find(word);
  if (mode == modes.end()) section.Refuse("mode", Quoted(word) + " is none of shared, exclusive, mig, mps");
  return mode->second;
}

/// NUMA nodes the devices of an entry are dealt into.
std::vector<std::int32_t> NumaNodes(const Section& section) {
  const YAML::Node numa = section.Get("numa");
  if (!numa || numa.IsScalar()) return {section.Number("numa", 0, 1023, 0)};
  auto nodes = section.Numbers("numa", 0, 1023);
  if (nodes.empty()) section.Refuse("numa", "names no NUMA node");
  return nodes;
}

void AddDevices(const std::string& file, const YAML::Node& yaml, NodeTemplate& node) {
  const Section entry(file, yaml,
                      {"model", "vendor", "count", "memoryMiB", "cores", "slots", "numa", "mode", "healthy", "cordoned", "nvlinks"});
  Device device;
  device.model = entry.Text("model");
  device.vendor = entry.Text("vendor", "nvidia");
  device.mib = entry.Number("memoryMiB", 1, kMostMib);
  device.cores = entry.Number("cores", 0, 1000, 100);
  device.slots = entry.Number("slots", 1, 1000, 10);
  device.mode = ModeOf(entry);
  device.healthy = entry.Bool("healthy", true);
  device.cordoned = entry.Bool("cordoned", false);
  const auto count = static_cast<std::size_t>(entry.Number("count", 1, kMostDevices, 1));
  const auto numa = NumaNodes(entry);
  auto& devices = node.inventory.devices;
  node.groups.push_back({devices.size(), entry.Number("nvlinks", 0, 18, 0)});
  for (std::size_t i = 0; i < count; ++i) {
    device.index = static_cast<std::int32_t>(devices.size());
    device.numa = numa[i * numa.size() / count];
    devices.push_back(device);
    node.group_of.push_back(node.groups.size() - 1);
  }
  if (devices.size() > std::size_t{kMostDevices}) entry.Refuse("count", fmt::format("a node has at most {} devices", kMostDevices));
}

std::int32_t LinkScore(const NodeTemplate& node, std::size_t from, std::size_t to) {
  const auto& devices = node.inventory.devices;
  const std::int32_t path = devices[from].numa == devices[to].numa ? kWithinNuma : kAcrossNuma;
  const bool same_group = node.group_of[from] == node.group_of[to];
  return path + (same_group ? kPerNvlink * node.groups[node.group_of[from]].nvlinks : 0);
}

void AddLinks(NodeTemplate& node) {
  auto& devices = node.inventory.devices;
  if (devices.size() < 2) return;
  for (std::size_t from = 0; from < devices.size(); ++from) {
    devices[from].links.assign(devices.size(), 0);
    for (std::size_t to = 0; to < devices.size(); ++to) {
      if (from != to) devices[from].links[to] = LinkScore(node, from, to);
    }
  }
}

k8s::StringMap ReadAnnotations(const std::string& file, const Section& entry) {
  const YAML::Node yaml = entry.Get("annotations");
  k8s::StringMap annotations;
  if (!yaml) return annotations;
  if (!yaml.IsMap()) entry.Refuse("annotations", "is not a map");
  for (const auto& pair : yaml) {
    if (!pair.first.IsScalar() || !pair.second.IsScalar()) throw SpecError(file, pair.first, "annotations: a text is expected");
    annotations[pair.first.Scalar()] = pair.second.Scalar();
  }
  return annotations;
}

std::string Uuid(std::string_view node, std::int32_t index) { return fmt::format("GPU-{}-{}", node, index); }

k8s::Node MakeNode(NodeTemplate from, const std::string& name) {
  k8s::Node node;
  node.name = name;
  node.uid = "sim-node-" + name;
  node.annotations = std::move(from.annotations);
  if (from.inventory.devices.empty()) return node;
  for (Device& device : from.inventory.devices) device.uuid = Uuid(name, device.index);
  node.annotations.emplace(device::kInventoryAnnotation, device::EncodeInventory(from.inventory));
  return node;
}

/// Collects nodes and pods, and knows which exist.
class Builder {
 public:
  explicit Builder(const std::string& file) : file_(file) {}

  void AddNodes(const YAML::Node& yaml) {
    const Section entry(file_, yaml, {"name", "count", "annotations", "devices"});
    const auto node = std::make_shared<NodeTemplate>();
    node->annotations = ReadAnnotations(file_, entry);
    entry.ForEach("devices", [&](const YAML::Node& devices) { AddDevices(file_, devices, *node); });
    AddLinks(*node);
    const std::string pattern = entry.Text("name");
    const std::int32_t count = entry.Number("count", 1, kMostNodes, 1);
    for (std::int32_t number = 1; number <= count; ++number) {
      const std::string name = Numbered(pattern, number);
      if (!nodes_.emplace(name, node).second) {
        entry.Refuse("name", fmt::format("there are two nodes named {}; with a count, a name needs a #", Quoted(name)));
      }
      spec_.nodes.push_back(MakeNode(*node, name));
    }
    if (spec_.nodes.size() > std::size_t{kMostNodes}) entry.Refuse("count", fmt::format("there are at most {} nodes", kMostNodes));
  }

  void AddPod(const YAML::Node& yaml) {
    const Section entry(file_, yaml, {"pod", "node", "shares"});
    k8s::Pod pod;
    const std::string full_name = entry.Text("pod");
    const auto slash = full_name.find('/');
    if (slash == 0 || slash == std::string::npos || slash + 1 == full_name.size()) entry.Refuse("pod", "is not of the form namespace/name");
    if (!pods_.insert(full_name).second) entry.Refuse("pod", fmt::format("there are two pods named {}", Quoted(full_name)));
    pod.ns = full_name.substr(0, slash);
    pod.name = full_name.substr(slash + 1);
    pod.uid = "sim-pod-" + full_name;
    pod.phase = "Running";
    pod.node_name = entry.Text("node");
    pod.annotations[std::string(device::kAllocationAnnotation)] = device::EncodeAllocation(ReadShares(entry, pod.node_name));
    spec_.pods.push_back(std::move(pod));
  }

  SimSpec Take() { return std::move(spec_); }

 private:
  device::Allocation ReadShares(const Section& entry, const std::string& node) {
    const auto found = nodes_.find(node);
    if (found == nodes_.end()) entry.Refuse("node", fmt::format("there is no node {}", Quoted(node)));
    const auto& devices = found->second->inventory.devices;
    device::ContainerAllocation container;
    container.name = "main";
    entry.ForEach("shares", [&](const YAML::Node& yaml) {
      const Section share(file_, yaml, {"device", "memoryMiB", "cores"});
      const std::int32_t index = share.Number("device", 0, static_cast<std::int32_t>(devices.size()) - 1);
      container.vendor = devices[static_cast<std::size_t>(index)].vendor;
      container.shares.push_back({Uuid(node, index), share.Number("memoryMiB", 0, kMostMib), share.Number("cores", 0, 100, 0)});
    });
    return {node, {std::move(container)}};
  }

  const std::string& file_;
  SimSpec spec_;
  std::map<std::string, std::shared_ptr<const NodeTemplate>> nodes_;
  std::set<std::string> pods_;
};

}  // namespace

Result<SimSpec> ParseSimSpec(std::string_view yaml, const std::string& file) {
  const auto document = LoadYaml(yaml, file);
  if (!document) return Fail(document.error());
  try {
    const Section root(file, *document, {"nodes", "pods"});
    Builder builder(file);
    root.ForEach("nodes", [&](const YAML::Node& node) { builder.AddNodes(node); });
    root.ForEach("pods", [&](const YAML::Node& pod) { builder.AddPod(pod); });
    return builder.Take();
  } catch (const SpecError& error) {
    return Fail(Code::kInvalid, "{}", error.what());
  } catch (const YAML::Exception& error) {
    return Fail(Code::kInvalid, "{}:{}: {}", file, error.mark.line + 1, error.msg);
  }
}

}  // namespace partage::sim
