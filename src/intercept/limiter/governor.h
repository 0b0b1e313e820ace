// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "intercept/limiter/rate.h"

namespace partage::intercept::limiter {

/// One container on the device, as the node's side of the limiter sees it.
struct Tenant {
  // Given.
  int32_t cores_percent;  ///< its limit; 0: none
  CorePolicy policy;
  uint32_t priority;  ///< 0 goes before 1
  bool soft;          ///< may use what others leave idle
  // Read from its bucket at every tick.
  int64_t spent_ns;
  int64_t hungry_stamp_ns;
  // Results, to be written to its limits file.
  RatePpm grant_ppm;  ///< kUnlimited: nobody else wants the GPU
  int64_t trim_ppm;
  bool neighbours_busy;
  // Memory of the governor.
  int64_t seen_spent_ns;
  int64_t active_stamp_ns;
  bool started;
};

/// Decides every few milliseconds what each container of one device may use right now. Pure: values in, values out; tenants may come and go between
/// ticks (a new one is all zero but for what was given).
///
///  - A container counts as active while it launches or waits, and for kIdleAfterNs longer.
///  - While one of priority 0 is active, those of priority 1 get kStarvedPpm: next to nothing, but never nothing.
///  - What idle containers leave is lent to active ones that are soft, by the size of their limits. A container that
///    becomes active has its whole limit back at the next tick.
///  - Alone on the device, a container that is soft or of the default policy has kAlonePpm: all but a margin
///    that keeps the GPU's queue short, so that the time can be taken back at once.
class Governor {
 public:
  static constexpr int64_t kTickNs = 5'000'000;
  static constexpr int64_t kIdleAfterNs = 50'000'000;
  static constexpr RatePpm kStarvedPpm = kWholeGpu / 100;
  static constexpr RatePpm kAlonePpm = kWholeGpu / 100 * 98;

  static void Tick(Tenant* tenants, int count, int64_t now_ns);
};

/// How much a container's learned costs are off, from what the driver's counters say it really used: charged over used, over some twenty seconds.
/// Its rate is multiplied by this, so it does not matter in which direction events mislead, or whether the container uses its share at all.
/// The first seconds, of which long kernels make anything, count less.
class Trim {
 public:
  static constexpr int64_t kLowestPpm = kWholeGpu / 4;
  static constexpr int64_t kHighestPpm = kWholeGpu * 8;  ///< eight neighbours that take turns make spans eight times as long

  /// In the same window of about a second launches worth `charged_ns` were let go (Admitted) and counters showed `used_ns`. Returns the new trim.
  int64_t Update(int64_t charged_ns, int64_t used_ns);

  int64_t ppm() const { return ppm_; }

 private:
  int64_t ppm_ = kWholeGpu;
  int64_t charged_ns_ = 0;
  int64_t used_ns_ = 0;
  int64_t prior_ns_ = 1'000'000'000;  // of costs that are right, imagined before the first window
};

}  // namespace partage::intercept::limiter
