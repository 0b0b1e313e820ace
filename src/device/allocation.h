// SPDX-License-Identifier: Apache-2.0
// What a pod was given, and what that takes off each device.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "device/request.h"

namespace partage::device {

/// One container's part of one device.
struct Share {
  std::string uuid;
  std::int32_t mib = 0;
  std::int32_t cores = 0;
  bool exclusive() const { return cores >= 100; }
  bool operator==(const Share&) const = default;
};

struct ContainerAllocation {
  std::string name;
  ContainerKind kind = ContainerKind::kApp;
  std::int32_t priority = -1;
  std::string vendor;         ///< of all its shares; empty when there are none
  std::vector<Share> shares;  ///< empty for a container without devices
  bool operator==(const ContainerAllocation&) const = default;
};

/// A pod's assignment on one node: every container of the pod, in spec order (init first).
struct Allocation {
  std::string node;
  std::vector<ContainerAllocation> containers;
  bool operator==(const Allocation&) const = default;
};

/// What a pod takes off one device while it lives.
struct DeviceUsage {
  std::int32_t slots = 0;
  std::int64_t mib = 0;
  std::int64_t cores = 0;
  bool exclusive = false;
  bool operator==(const DeviceUsage&) const = default;
};

struct UuidUsage {
  std::string uuid;
  DeviceUsage usage;
  bool operator==(const UuidUsage&) const = default;
};

/// Adds up one device's usage over a pod's containers, fed in spec order (init containers, then app containers), by Kubernetes' own formula
/// (KEP-753): max(over init containers i: i + sidecars started before i; app + all sidecars), for slots, memory and cores each. Exclusive when any share is.
/// The one place where this is computed. Not thread-safe.
class UsageAccumulator {
 public:
  void Add(ContainerKind kind, std::int32_t mib, std::int32_t cores);
  DeviceUsage Total() const;

 private:
  DeviceUsage app_, sidecars_, init_peak_;
};

/// Usage of each device named in the allocation, sorted by UUID.
std::vector<UuidUsage> CollapseUsage(const Allocation& allocation);

/// What a pod takes of one vendor's devices together.
struct VendorUsage {
  std::string vendor;
  std::int64_t mib = 0;
  std::int64_t cores = 0;  ///< percent of cards, summed
  bool operator==(const VendorUsage&) const = default;
};

/// CollapseUsage summed over the devices of each vendor, by name: what quotas count.
std::vector<VendorUsage> UsageByVendor(const Allocation& allocation);

/// The least any allocation for this request comes to: memory asked for as a part of a card counts nothing before the card is known.
std::vector<VendorUsage> LeastUsageByVendor(const PodRequest& request);

}  // namespace partage::device
