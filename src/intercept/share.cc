// SPDX-License-Identifier: Apache-2.0
#include "intercept/share.h"

#include <time.h>

#include "intercept/runtime.h"

namespace partage::intercept {
namespace {

std::uint64_t Smaller(std::uint64_t a, std::uint64_t b) { return a < b ? a : b; }

std::uint64_t ClockNs(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

/// Some milliseconds late, for a third of the price.
std::uint64_t CoarseNs() { return ClockNs(CLOCK_MONOTONIC_COARSE); }

}  // namespace

std::uint64_t MonotonicNs() { return ClockNs(CLOCK_MONOTONIC); }

bool Oversubscribed(int index) {
  shm::LimitsContent content;
  return ReadLimits(&content) && (content.device[index].flags & shm::kOversubscribe) != 0;
}

ShareOfMemory ShareOf(int index, std::uint64_t device_total, std::uint64_t device_free) {
  const std::uint64_t limit = index >= 0 ? MemoryLimit(index) : shm::kNoLimit;
  if (limit == shm::kNoLimit) return {device_total, device_free, device_total - Smaller(device_free, device_total)};
  region().SweepIfDue(CoarseNs());  // whoever looks at the numbers keeps them true
  const std::uint64_t used = Smaller(MemoryUsed(index), limit);
  if (limit - used > device_free && Oversubscribed(index)) return {limit, limit - used, used};
  const std::uint64_t total = Smaller(limit, device_total);
  return {total, Smaller(total - Smaller(used, total), device_free), Smaller(used, total)};
}

}  // namespace partage::intercept
