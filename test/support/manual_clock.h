// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

#include "base/clock.h"

namespace partage::test {

/// A clock that stands still until told otherwise. Thread-safe.
class ManualClock final : public Clock {
 public:
  Mono Now() const override { return Mono(Mono::duration(mono_.load())); }
  Wall WallNow() const override { return Wall(Wall::duration(wall_.load())); }
  void Advance(std::chrono::nanoseconds by) {
    mono_ += std::chrono::duration_cast<Mono::duration>(by).count();
    wall_ += std::chrono::duration_cast<Wall::duration>(by).count();
  }
  /// Moves only the wall clock, as an administrator or NTP would.
  void JumpWall(std::chrono::nanoseconds by) { wall_ += std::chrono::duration_cast<Wall::duration>(by).count(); }

 private:
  std::atomic<Mono::rep> mono_{std::chrono::duration_cast<Mono::duration>(std::chrono::hours(1)).count()};
  std::atomic<Wall::rep> wall_{std::chrono::duration_cast<Wall::duration>(std::chrono::hours(24 * 365 * 50)).count()};
};

}  // namespace partage::test
