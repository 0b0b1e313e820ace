// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/binding_document.h"

#include <fmt/format.h>

#include "device/allocation_codec.h"

namespace partage::scheduler {
namespace {

// Half of what the API server lets all annotations of an object take: the user's own need room too.
constexpr std::size_t kLargestAnnotations = 128u << 10;

// HAMi's monitor and WebUI select pods by a label with the node's name. A longer name is no label value, and the Binding would not be refused for it.
constexpr std::size_t kLongestLabel = 63;
constexpr std::string_view kHamiNode = "hami.io/vgpu-node";

// What HAMi's list of one vendor shows: the other vendors' containers count as containers without devices.
device::Allocation OfVendor(device::Allocation allocation, std::string_view vendor) {
  for (device::ContainerAllocation& container : allocation.containers) {
    if (container.vendor != vendor) container.shares.clear();
  }
  return allocation;
}

bool HasShares(const device::Allocation& allocation) {
  for (const device::ContainerAllocation& container : allocation.containers) {
    if (!container.shares.empty()) return true;
  }
  return false;
}

void AddHamiMetadata(const device::Allocation& allocation, const vendors::Catalog& vendors, Clock::Wall now, k8s::Binding& binding) {
  k8s::StringMap& annotations = binding.annotations;
  if (allocation.node.size() <= kLongestLabel) binding.labels.emplace(kHamiNode, allocation.node);
  const std::string seconds = std::to_string(std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count());
  annotations.emplace(kHamiNode, allocation.node);
  annotations["hami.io/vgpu-time"] = seconds;
  annotations["hami.io/bind-phase"] = "allocating";
  annotations["hami.io/bind-time"] = seconds;
  for (const vendors::Vendor& vendor : vendors.vendors()) {
    const device::Allocation own = OfVendor(allocation, vendor.name);
    if (!HasShares(own)) continue;
    const std::string devices = device::EncodeHamiDevices(own, vendor.word);
    if (!vendor.hami_to_allocate.empty()) annotations[vendor.hami_to_allocate] = devices;
    if (!vendor.hami_allocated.empty()) annotations[vendor.hami_allocated] = devices;
  }
}

std::size_t Size(const k8s::StringMap& annotations) {
  std::size_t size = 0;
  for (const auto& [key, value] : annotations) size += key.size() + value.size();
  return size;
}

}  // namespace

Result<k8s::Binding> MakeBinding(const Reservation& reservation, const vendors::Catalog& vendors, Clock::Wall now) {
  const device::Allocation& allocation = reservation.allocation();
  k8s::Binding binding = MakePlainBinding(reservation.pod(), allocation.node);
  binding.annotations.emplace(device::kAllocationAnnotation, device::EncodeAllocation(allocation));
  if (reservation.dialect() == device::NodeInventory::Dialect::kHami) AddHamiMetadata(allocation, vendors, now, binding);
  if (const std::size_t size = Size(binding.annotations); size > kLargestAnnotations) {
    return Fail(Code::kInvalid, "the allocation takes {} bytes of annotations, at most {} are allowed: use fewer containers or devices",
                size, kLargestAnnotations);
  }
  return binding;
}

k8s::Binding MakePlainBinding(const PodRef& pod, const std::string& node) {
  return {.ns = pod.ns, .name = pod.name, .uid = pod.uid, .node = node, .annotations = {}, .labels = {}};
}

}  // namespace partage::scheduler
