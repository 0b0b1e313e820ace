// SPDX-License-Identifier: Apache-2.0
// Private to this folder.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>

#include "base/clock.h"

namespace partage::k8s {

/// Growing, jittered delays between attempts: the n-th is in [d, 2d) with d = first · 2^n, at most max; from the start again after two minutes without one.
/// Used by one thread.
class Backoff {
 public:
  Backoff(std::chrono::milliseconds first, std::chrono::milliseconds max, const Clock& clock, std::uint32_t seed)
      : first_(first), max_(max), clock_(clock), random_(seed), next_(first), last_(clock.Now()) {}

  std::chrono::milliseconds Next();

 private:
  const std::chrono::milliseconds first_, max_;
  const Clock& clock_;
  std::mt19937 random_;
  std::chrono::milliseconds next_;
  Clock::Mono last_;
};

}  // namespace partage::k8s
