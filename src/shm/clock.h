// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <time.h>

#include <cstdint>

namespace partage::shm {

/// The clock in nanoseconds. The stamps in the files count CLOCK_MONOTONIC, which all containers of a node share. Thread-safe.
inline std::uint64_t ClockNs(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

inline std::uint64_t MonotonicNs() { return ClockNs(CLOCK_MONOTONIC); }

}  // namespace partage::shm
