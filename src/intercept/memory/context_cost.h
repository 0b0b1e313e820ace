// SPDX-License-Identifier: Apache-2.0
// What a context costs on one device, which no call of the driver says: one process of the container measures it, the others read it.
#pragma once

#include <cstdint>

#include "shm/layout.h"

namespace partage::intercept::memory {

/// A view of one device's word in the usage file (DeviceUsage.context_cost). Thread-safe, between processes too.
///
///   not known → being measured (Claim) → known (Tell), for the life of the file
///       ↑______________________│ GiveUp, or kStaleNs after a Claim whose process is gone
class ContextCost {
 public:
  static constexpr std::uint64_t kStaleNs = 2'000'000'000;

  explicit ContextCost(shm::Word& word) : word_(word) {}

  /// Whether it is known; an even number of bytes.
  bool Known(std::uint64_t* bytes) const;

  /// True: the caller is to measure, and to call Tell or GiveUp. False: it is known, or somebody else is at it. `now_ns`: CLOCK_MONOTONIC.
  bool Claim(std::uint64_t now_ns) const;

  /// What was measured; an odd number is rounded up.
  void Tell(std::uint64_t bytes) const;

  /// It could not be measured: the next process tries.
  void GiveUp() const;

  /// Waits until it is known, at most 100 ms and not longer than somebody measures. Whether it is known.
  bool Await(std::uint64_t* bytes) const;

 private:
  shm::Word& word_;
};

}  // namespace partage::intercept::memory
