// SPDX-License-Identifier: Apache-2.0
#include "intercept/share.h"

#include "intercept/runtime.h"
#include "shm/clock.h"

namespace partage::intercept {
namespace {

std::uint64_t Smaller(std::uint64_t a, std::uint64_t b) { return a < b ? a : b; }

/// Some milliseconds late, for a third of the price.
std::uint64_t CoarseNs() { return shm::ClockNs(CLOCK_MONOTONIC_COARSE); }

}  // namespace

bool Oversubscribed(int index) {
  shm::LimitsContent content;
  return ReadLimits(&content) && (content.device[index].flags & shm::kOversubscribe) != 0;
}

ShareOfMemory ShareOf(int index, std::uint64_t device_total, std::uint64_t device_free) {
  const std::uint64_t limit = index >= 0 ? MemoryLimit(index) : shm::kNoLimit;
  if (limit == shm::kNoLimit) return {device_total, device_free, device_total - Smaller(device_free, device_total)};
  region().SweepIfDue(CoarseNs());  // whoever looks at the numbers keeps them true
  const std::uint64_t used = Smaller(MemoryUsed(index), limit);
  if ((limit - used > device_free || limit > device_total) && Oversubscribed(index)) return {limit, limit - used, used};
  const std::uint64_t total = Smaller(limit, device_total);
  return {total, Smaller(total - Smaller(used, total), device_free), Smaller(used, total)};
}

}  // namespace partage::intercept
