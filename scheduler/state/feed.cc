// SPDX-License-Identifier: Apache-2.0

#include "scheduler/state/feed.h"

#include <iterator>
#include <utility>

#include "base/quantity.h"
#include "device/allocation_codec.h"
#include "device/inventory_codec.h"
#include "scheduler/state/quota_feed.h"

namespace partage::scheduler {
namespace {

using device::Allocation;
using device::ContainerKind;
using vendors::Vendor;

constexpr std::string_view kHamiNode = "hami.io/vgpu-node";

const std::string* Find(const k8s::StringMap& annotations, std::string_view key) {
  const auto found = key.empty() ? annotations.end() : annotations.find(key);
  return found == annotations.end() ? nullptr : &found->second;
}

std::string_view TextOf(const k8s::StringMap& annotations, std::string_view key) {
  const auto* text = Find(annotations, key);
  return text == nullptr ? std::string_view() : *text;
}

/// Calls `visit(container, kind)` in spec order, init containers first.
template <class Visit>
void ForEachContainer(const k8s::Pod& pod, Visit visit) {
  for (const auto& container : pod.init_containers)
    visit(container, container.restart_always ? ContainerKind::kSidecar : ContainerKind::kInit);
  for (const auto& container : pod.containers) visit(container, ContainerKind::kApp);
}

bool Wants(const k8s::Pod& pod, const Vendor& vendor) {
  bool wants = false;
  ForEachContainer(pod, [&](const k8s::Container& c, ContainerKind) { wants = wants || Asks(vendor, c.limits, c.requests); });
  return wants;
}

Result<Allocation> ReadOwnAllocation(const k8s::Pod& pod, const std::string& text) {
  auto allocation = device::DecodeAllocation(text);
  if (!allocation) return Fail(allocation.error(), device::kAllocationAnnotation);
  if (allocation->node != pod.node_name) {
    return Fail(Code::kInvalid, "{} names node {}, but the pod runs on {}", device::kAllocationAnnotation, allocation->node, pod.node_name);
  }
  return allocation;
}

Result<Allocation> ReadHamiAllocation(const k8s::Pod& pod, const Vendor& vendor, const std::string& text) {
  if (const auto node = TextOf(pod.annotations, kHamiNode); node != pod.node_name) {
    return Fail(Code::kInvalid, "{} names node \"{}\", but the pod runs on {}", kHamiNode, node, pod.node_name);
  }
  std::vector<device::HamiContainer> containers;
  ForEachContainer(pod, [&](const k8s::Container& c, ContainerKind kind) {
    containers.push_back({c.name, kind, Asks(vendor, c.limits, c.requests)});
  });
  auto allocation = device::DecodeHamiDevices(text, vendor.name, pod.node_name, containers);
  if (!allocation) return Fail(allocation.error(), vendor.hami_allocated);
  return allocation;
}

// HAMi keeps one list a vendor; a container's shares of all vendors come together. Both have one entry for every container of the pod.
void Merge(Allocation& into, Allocation from) {
  if (into.containers.empty()) return std::swap(into, from);
  for (std::size_t i = 0; i < from.containers.size(); ++i) {
    if (into.containers[i].shares.empty()) into.containers[i].vendor = from.containers[i].vendor;
    auto& shares = into.containers[i].shares;
    shares.insert(shares.end(), std::move_iterator(from.containers[i].shares.begin()), std::move_iterator(from.containers[i].shares.end()));
  }
}

Result<Allocation> ReadHamiAllocations(const k8s::Pod& pod, const vendors::Catalog& catalog) {
  Allocation all{.node = pod.node_name, .containers = {}};
  for (const auto& vendor : catalog.vendors()) {
    const auto* text = Find(pod.annotations, vendor.hami_allocated);
    if (text == nullptr) continue;
    auto allocation = ReadHamiAllocation(pod, vendor, *text);
    if (!allocation) return allocation;
    Merge(all, *std::move(allocation));
  }
  return all;
}

// A container that asks a vendor and was given nothing may hold any device.
Result<> CheckServed(const k8s::Pod& pod, const vendors::Catalog& catalog, bool has_shares) {
  for (const auto& vendor : catalog.vendors()) {
    if (has_shares && (Find(pod.annotations, device::kAllocationAnnotation) || Find(pod.annotations, vendor.hami_allocated))) continue;
    if (!Wants(pod, vendor)) continue;
    return Fail(Code::kInvalid, "asks for {} and runs on {}, but carries no allocation ({}{}{}): was it bound by another scheduler?",
                vendor.count_resource, pod.node_name, device::kAllocationAnnotation, vendor.hami_allocated.empty() ? "" : " or ",
                vendor.hami_allocated);
  }
  return {};
}

/// Fills what the pod takes.
Result<> ReadUsage(const k8s::Pod& pod, const vendors::Catalog& catalog, PodObservation& into) {
  const auto* own = Find(pod.annotations, device::kAllocationAnnotation);
  const auto allocation = own != nullptr ? ReadOwnAllocation(pod, *own) : ReadHamiAllocations(pod, catalog);
  if (!allocation) return Fail(allocation.error());
  auto usage = device::CollapseUsage(*allocation);
  if (auto served = CheckServed(pod, catalog, !usage.empty()); !served) return Fail(served.error());
  into.usage = std::move(usage);
  into.quota_usage = device::UsageByVendor(*allocation);
  into.quota_traits = QuotaTraitsOf(pod);
  return {};
}

// HAMi never takes a node's register annotation back: that its device plugin is gone shows in the kubelet's count. A node without a count says nothing.
bool PluginGone(const k8s::Node& node, const Vendor& vendor) {
  const auto* count = Find(node.allocatable, vendor.count_resource);
  return count != nullptr && ParseWholeQuantity(*count).value_or(1) == 0;
}

Result<device::NodeInventory> ReadHamiInventory(const k8s::Node& node, const vendors::Catalog& catalog) {
  device::NodeInventory all;
  for (const auto& vendor : catalog.vendors()) {
    const auto* registered = Find(node.annotations, vendor.hami_register);
    if (registered == nullptr) continue;
    auto inventory = device::DecodeHamiInventory(
        vendor.name, {*registered, TextOf(node.annotations, vendor.hami_score), TextOf(node.annotations, vendor.hami_cordon)});
    if (!inventory) return Fail(inventory.error(), vendor.hami_register);
    const bool gone = PluginGone(node, vendor);
    for (auto& device : inventory->devices) {
      device.healthy = device.healthy && !gone;
      if (all.Find(device.uuid) >= 0)
        return Fail(Code::kInvalid, "{}: another vendor has the UUID {} too", vendor.hami_register, device.uuid);
    }
    all.dialect = device::NodeInventory::Dialect::kHami;
    all.Append(*std::move(inventory));
  }
  return all;
}

Result<device::NodeInventory> ReadInventory(const k8s::Node& node, const vendors::Catalog& catalog) {
  const auto* own = Find(node.annotations, device::kInventoryAnnotation);
  if (own == nullptr) return ReadHamiInventory(node, catalog);
  auto inventory = device::DecodeInventory(*own);
  if (!inventory) return Fail(inventory.error(), device::kInventoryAnnotation);
  return inventory;
}

}  // namespace

PodObservation Observe(const k8s::Pod& pod, const vendors::Catalog& vendors) {
  PodObservation seen;
  seen.pod = {pod.ns, pod.name, pod.uid, pod.priority};
  seen.terminating = pod.deleting;
  seen.created = pod.created;
  seen.resource_version = pod.resource_version;
  seen.node = pod.node_name;
  seen.finished = pod.terminal();
  if (seen.node.empty() || seen.finished) return seen;
  if (auto read = ReadUsage(pod, vendors, seen); !read) seen.allocation_error = read.error().message;
  return seen;
}

NodeObservation Observe(const k8s::Node& node, const vendors::Catalog& vendors) {
  NodeObservation seen;
  seen.name = node.name;
  seen.uid = node.uid;
  seen.resource_version = node.resource_version;
  if (auto inventory = ReadInventory(node, vendors)) {
    seen.inventory = *std::move(inventory);
  } else {
    seen.inventory_error = inventory.error().message;
  }
  return seen;
}

vendors::PodInput ToParserInput(const k8s::Pod& pod) {
  vendors::PodInput input{.containers = {}, .annotations = pod.annotations};
  ForEachContainer(pod, [&](const k8s::Container& c, ContainerKind kind) {
    input.containers.push_back({c.name, kind, c.limits, c.requests});
  });
  return input;
}

}  // namespace partage::scheduler
