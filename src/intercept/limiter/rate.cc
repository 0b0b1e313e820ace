// SPDX-License-Identifier: Apache-2.0
#include "intercept/limiter/rate.h"

namespace partage::intercept::limiter {
namespace {

RatePpm OwnLimit(const ComputeShare& share) {
  const bool limited = share.cores_percent > 0 && share.cores_percent < 100 && share.policy != CorePolicy::kDisable;
  return limited ? share.cores_percent * (kWholeGpu / 100) : kUnlimited;
}

}  // namespace

RatePpm EffectiveRate(const ComputeShare& share) {
  const RatePpm own = OwnLimit(share);
  RatePpm rate = share.grant_ppm == kNoGrant ? own : share.grant_ppm;
  const bool borrowed = own != kUnlimited && (rate == kUnlimited || rate > own);
  if (borrowed && share.policy == CorePolicy::kForce) rate = own;
  if (rate == kUnlimited || share.trim_ppm <= 0) return rate;
  return rate * share.trim_ppm / kWholeGpu;
}

}  // namespace partage::intercept::limiter
