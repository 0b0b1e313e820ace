// SPDX-License-Identifier: Apache-2.0
#include <map>

#include <fmt/format.h>

#include "cli/render.h"

namespace partage::cli {
namespace {

constexpr std::size_t kMemoryBar = 20, kCoresBar = 10;

/// "8 × NVIDIA A100-SXM4-80GB, 2 × NVIDIA T4".
std::string Models(const NodeState& node) {
  std::map<std::string, int> counts;
  for (const DeviceState& device : node.devices) ++counts[device.model];
  std::string text;
  for (const auto& [model, count] : counts) text += fmt::format("{}{} × {}", text.empty() ? "" : ", ", count, Printable(model));
  return text.empty() ? "no devices" : text;
}

std::string Holding(const PodState& pod, const ShareState& share) {
  const std::string cores = share.exclusive ? " exclusive" : share.cores > 0 ? fmt::format(" {} %", share.cores) : "";
  const std::string state = pod.state == "bound" ? "" : " (" + Printable(pod.state) + ")";
  return fmt::format("{}/{} {}{}{}", Printable(pod.ns), Printable(pod.name), HumanMib(share.mib), cores, state);
}

std::string Holders(const NodeState& node, const std::string& uuid) {
  std::string text;
  for (const PodState& pod : node.pods) {
    for (const ShareState& share : pod.shares) {
      if (share.uuid == uuid) text += (text.empty() ? "" : ", ") + Holding(pod, share);
    }
  }
  return text;
}

/// Why a device takes no new share; empty when it does.
std::string Closed(const DeviceState& device) {
  if (!device.healthy) return "unhealthy";
  if (device.cordoned) return "cordoned";
  return device.mode == "mig" || device.mode == "mps" ? "mode " + device.mode + ", not placed yet" : "";
}

Cell PodsCell(const NodeState& node, const DeviceState& device) {
  const std::string holders = Holders(node, device.uuid), closed = Closed(device);
  if (!closed.empty()) return {"[" + closed + "] " + holders, Tone::kBad};
  return holders.empty() ? Cell{"free", Tone::kDim} : Cell{holders};
}

void AddDevice(const NodeState& node, const DeviceState& device, TextTable& table) {
  const Tone memory = Load(device.mib.used, device.mib.total), cores = Load(device.cores.used, device.cores.total);
  table.Add({{std::to_string(device.index), Tone::kStrong},
             {Bar(device.mib.used, device.mib.total, kMemoryBar), memory},
             {fmt::format("{} of {}", HumanMib(device.mib.used), HumanMib(device.mib.total))},
             {Bar(device.cores.used, device.cores.total, kCoresBar), cores},
             {fmt::format("{} %", device.cores.used)},
             {fmt::format("{}/{}", device.slots.used, device.slots.total)},
             PodsCell(node, device)});
}

std::string RenderNode(const NodeState& node, const Painter& painter) {
  std::string text = fmt::format("{}  {}\n", painter.Paint(Tone::kStrong, Printable(node.name)), painter.Paint(Tone::kDim, Models(node)));
  if (!node.quarantine.empty())
    text += "  " + painter.Paint(Tone::kBad, "nothing new is placed here: " + Printable(node.quarantine)) + "\n";
  for (const PodState& pod : node.pods) {
    if (pod.allocation_error.empty()) continue;
    text += "  " +
            painter.Paint(Tone::kBad, fmt::format("{}/{}: {}", Printable(pod.ns), Printable(pod.name), Printable(pod.allocation_error))) +
            "\n";
  }
  if (node.devices.empty()) return text;
  TextTable table({">GPU", "MEMORY", "", "CORES", ">", ">SHARES", "PODS"}, "  ");
  for (const DeviceState& device : node.devices) AddDevice(node, device, table);
  return text + table.Render(painter);
}

}  // namespace

std::string RenderState(const ClusterState& state, const Painter& painter) {
  std::string text;
  for (const NodeState& node : state.nodes) text += (text.empty() ? "" : "\n") + RenderNode(node, painter);
  if (state.nodes.empty()) text = "no nodes\n";
  if (state.waiting.empty()) return text;
  TextTable table({"WAITING", "WHY"});
  for (const WaitingPod& pod : state.waiting) {
    table.Add({{Printable(pod.ns + "/" + pod.name), Tone::kWarn}, {Printable(pod.reason)}});
  }
  return text + "\n" + table.Render(painter);
}

}  // namespace partage::cli
