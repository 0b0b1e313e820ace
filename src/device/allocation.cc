// SPDX-License-Identifier: Apache-2.0

#include "device/allocation.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string_view>

namespace partage::device {
namespace {

// Annotations may hold any number of int32 shares; a sum that saturates is still "more than any device has".
std::int32_t SaturatingSum(std::int32_t a, std::int32_t b) {
  const auto sum = static_cast<std::int64_t>(a) + b;
  return static_cast<std::int32_t>(std::min<std::int64_t>(sum, std::numeric_limits<std::int32_t>::max()));
}

std::int32_t Product(std::int32_t a, std::int32_t b) {
  const auto product = static_cast<std::int64_t>(a) * b;
  return static_cast<std::int32_t>(std::min<std::int64_t>(product, std::numeric_limits<std::int32_t>::max()));
}

DeviceUsage Sum(const DeviceUsage& a, const DeviceUsage& b) {
  return {SaturatingSum(a.slots, b.slots), SaturatingSum(a.mib, b.mib), SaturatingSum(a.cores, b.cores), a.exclusive || b.exclusive};
}

DeviceUsage Max(const DeviceUsage& a, const DeviceUsage& b) {
  return {std::max(a.slots, b.slots), std::max(a.mib, b.mib), std::max(a.cores, b.cores), a.exclusive || b.exclusive};
}

}  // namespace

void UsageAccumulator::Add(ContainerKind kind, std::int32_t mib, std::int32_t cores) {
  const DeviceUsage share{.slots = 1, .mib = mib, .cores = cores, .exclusive = cores >= 100};
  switch (kind) {
    case ContainerKind::kInit: init_peak_ = Max(init_peak_, Sum(share, sidecars_)); break;
    case ContainerKind::kSidecar: sidecars_ = Sum(sidecars_, share); break;
    case ContainerKind::kApp: app_ = Sum(app_, share); break;
  }
}

DeviceUsage UsageAccumulator::Total() const { return Max(init_peak_, Sum(app_, sidecars_)); }

std::vector<UuidUsage> CollapseUsage(const Allocation& allocation) {
  std::map<std::string_view, UsageAccumulator> by_uuid;
  for (const auto& container : allocation.containers) {
    for (const auto& share : container.shares) by_uuid[share.uuid].Add(container.kind, share.mib, share.cores);
  }
  std::vector<UuidUsage> usage;
  usage.reserve(by_uuid.size());
  for (const auto& [uuid, accumulator] : by_uuid) usage.push_back({std::string(uuid), accumulator.Total()});
  return usage;
}

std::vector<VendorUsage> UsageByVendor(const Allocation& allocation) {
  std::map<std::pair<std::string_view, std::string_view>, UsageAccumulator> by_device;
  for (const auto& container : allocation.containers) {
    for (const auto& share : container.shares) by_device[{container.vendor, share.uuid}].Add(container.kind, share.mib, share.cores);
  }
  std::vector<VendorUsage> usage;
  for (const auto& [key, accumulator] : by_device) {
    if (usage.empty() || usage.back().vendor != key.first) usage.push_back({std::string(key.first), 0, 0});
    usage.back().mib += accumulator.Total().mib;
    usage.back().cores += accumulator.Total().cores;
  }
  return usage;
}

std::vector<VendorUsage> LeastUsageByVendor(const PodRequest& request) {
  std::map<std::string_view, UsageAccumulator> by_vendor;
  for (const auto& container : request.containers) {
    for (const auto& wanted : container.devices) {
      by_vendor[wanted.vendor].Add(container.kind, Product(wanted.count, wanted.mib), Product(wanted.count, wanted.cores));
    }
  }
  std::vector<VendorUsage> usage;
  for (const auto& [vendor, accumulator] : by_vendor) {
    usage.push_back({std::string(vendor), accumulator.Total().mib, accumulator.Total().cores});
  }
  return usage;
}

}  // namespace partage::device
