// SPDX-License-Identifier: Apache-2.0
// The charge of a memory pool that grows and shrinks inside the driver. Pure arithmetic; the caller holds the pool's lock.
#pragma once

#include <cstdint>

namespace partage::intercept::memory {

/// A pool is charged for what it has reserved from the device, free blocks included. Only the driver knows that number, and only after the fact,
/// so an allocation first holds an upper bound of the growth it may cause (charged to the device by the caller), then settles on what the driver
/// reports. `charged` never lies below what is reserved, unless the driver grew by more than was held.
///
///   Hold(b)  →  driver allocates  →  Settle(b, reserved)  →  refund or excess to the device
///
/// With several threads inside, one thread's settling leaves the others' holds charged: their growth may or may not show in `reserved` yet.
class PoolAccount {
 public:
  constexpr PoolAccount() = default;

  /// The device was charged `bytes` for growth to come.
  void Hold(std::uint64_t bytes) {
    charged_ += bytes;
    held_ += bytes;
  }

  /// What the caller does at the device now; at most one is not 0.
  struct Settled {
    std::uint64_t refund = 0;  ///< give back
    std::uint64_t excess = 0;  ///< charge, limit or not: the memory is taken
  };

  /// A hold ends (0: none did) and the pool, asked with the lock held, has `reserved` bytes.
  Settled Settle(std::uint64_t hold, std::uint64_t reserved) {
    held_ -= hold;
    const std::uint64_t before = charged_;
    const std::uint64_t most = reserved + held_;
    if (charged_ > most) charged_ = most;
    if (charged_ < reserved) charged_ = reserved;
    return {before > charged_ ? before - charged_ : 0, charged_ > before ? charged_ - before : 0};
  }

  std::uint64_t charged() const { return charged_; }
  std::uint64_t held() const { return held_; }

 private:
  std::uint64_t charged_ = 0;  // at the device, holds included
  std::uint64_t held_ = 0;
};

}  // namespace partage::intercept::memory
