// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "intercept/limiter/bucket.h"
#include "intercept/limiter/cost_model.h"

namespace partage::intercept::limiter {

/// When a container's compute limit holds (HAMi's GPU_CORE_UTILIZATION_POLICY).
enum class CorePolicy : uint32_t {
  kDefault,  ///< while nobody lends: the agent's grant counts, and without an agent the limit
  kForce,    ///< always: idle neighbours' time is never borrowed
  kDisable,  ///< never
};

/// What a container was given of one device, as the limits file says at this moment.
struct ComputeShare {
  int32_t cores_percent;  ///< 1..99; 0 and 100: no limit of its own
  CorePolicy policy;
  int64_t trim_ppm;       ///< agent's correction of learned costs, 1,000,000: none; 0: no agent
  int64_t grant_ppm;      ///< agent's rate before trim, with loans or starvation; kNoGrant: no agent
  bool neighbours_known;  ///< the agent says whether others use the GPU
  bool neighbours_busy;
};
inline constexpr int64_t kNoGrant = -2;

/// The rate that holds now: the limit or the agent's grant, by policy, corrected by the trim.
RatePpm EffectiveRate(const ComputeShare& share);

/// How far measured spans can be believed under this share.
inline Neighbours NeighboursOf(const ComputeShare& share) {
  if (!share.neighbours_known) return Neighbours::kUnknown;
  return share.neighbours_busy ? Neighbours::kBusy : Neighbours::kNone;
}

}  // namespace partage::intercept::limiter
