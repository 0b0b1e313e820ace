// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>

namespace partage::shm {

/// The clock in nanoseconds. The stamps in the files count CLOCK_MONOTONIC, which all containers of a node share. Thread-safe.
inline std::uint64_t ClockNs(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

/// Sleeps, or a little less when a signal comes. Not the C library's: neither a launch nor whoever holds our locks may be a point where threads are cancelled.
inline void SleepNs(std::uint64_t ns) {
  const timespec time{static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
  syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &time, nullptr);
}

inline std::uint64_t MonotonicNs() { return ClockNs(CLOCK_MONOTONIC); }

}  // namespace partage::shm
