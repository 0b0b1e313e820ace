// SPDX-License-Identifier: Apache-2.0
#include "intercept/share.h"

#include <time.h>

#include "intercept/runtime.h"

namespace partage::intercept {
namespace {

std::uint64_t Smaller(std::uint64_t a, std::uint64_t b) { return a < b ? a : b; }

}  // namespace

std::uint64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

ShareOfMemory ShareOf(int index, std::uint64_t device_total, std::uint64_t device_free) {
  const std::uint64_t limit = index >= 0 ? MemoryLimit(index) : shm::kNoLimit;
  if (limit == shm::kNoLimit) return {device_total, device_free, device_total - Smaller(device_free, device_total)};
  region().SweepIfDue(MonotonicNs());  // whoever looks at the numbers keeps them true
  const std::uint64_t total = Smaller(limit, device_total);
  const std::uint64_t used = Smaller(MemoryUsed(index), total);
  return {total, Smaller(total - used, device_free), used};
}

}  // namespace partage::intercept
