// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

namespace partage {

/// Time as the program sees it, injected so that tests decide it. Thread-safe.
class Clock {
 public:
  using Mono = std::chrono::steady_clock::time_point;
  using Wall = std::chrono::system_clock::time_point;

  virtual ~Clock() = default;
  /// For time-outs and ages: never jumps.
  virtual Mono Now() const = 0;
  /// For time stamps that people or other programs read: may jump.
  virtual Wall WallNow() const = 0;
};

/// The machine's clocks. Thread-safe.
class SystemClock final : public Clock {
 public:
  Mono Now() const override { return std::chrono::steady_clock::now(); }
  Wall WallNow() const override { return std::chrono::system_clock::now(); }
};

}  // namespace partage
