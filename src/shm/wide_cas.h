// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "shm/layout.h"

namespace partage::shm {

/// A value and the stamp of the operation that wrote it.
struct Stamped {
  std::uint64_t used;
  std::uint64_t stamp;
};

/// Replaces {used, last} of the device by `next` when they are `expected`, in one step and as a full barrier; false when they are not.
/// Assembly, because compilers call libatomic, which containers need not have, for 16 bytes.
inline bool CompareAndSwap(DeviceUsage& device, Stamped expected, Stamped next) {
  static_assert(offsetof(DeviceUsage, used) == 0 && offsetof(DeviceUsage, last) == 8);
#if defined(__x86_64__)
  bool swapped;
  asm volatile("lock cmpxchg16b %1"
               : "=@ccz"(swapped), "+m"(device), "+a"(expected.used), "+d"(expected.stamp)
               : "b"(next.used), "c"(next.stamp)
               : "memory");
  return swapped;
#elif defined(__aarch64__)
  std::uint64_t used, stamp;
  std::uint32_t failed;
  asm volatile(
      "1: ldaxp %0, %1, [%3]\n"
      "   cmp %0, %4\n"
      "   ccmp %1, %5, #0, eq\n"
      "   b.ne 2f\n"
      "   stlxp %w2, %6, %7, [%3]\n"
      "   cbnz %w2, 1b\n"
      "   dmb ish\n"
      "   b 3f\n"
      "2: clrex\n"
      "   mov %w2, #1\n"
      "3:\n"
      : "=&r"(used), "=&r"(stamp), "=&r"(failed)
      : "r"(&device.used), "r"(expected.used), "r"(expected.stamp), "r"(next.used), "r"(next.stamp)
      : "cc", "memory");
  return failed == 0;
#else
#error "a 16-byte compare-and-swap for this processor is missing"
#endif
}

}  // namespace partage::shm
