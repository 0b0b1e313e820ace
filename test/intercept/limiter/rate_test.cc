// SPDX-License-Identifier: Apache-2.0
#include "intercept/limiter/rate.h"

#include <catch2/catch.hpp>

namespace partage::intercept::limiter {
namespace {

ComputeShare Percent(int32_t cores) { return {.cores_percent = cores, .policy = CorePolicy::kDefault, .grant_ppm = kNoGrant}; }

TEST_CASE("Without an agent the limit is the rate") {
  CHECK(EffectiveRate(Percent(30)) == 300'000);
  CHECK(EffectiveRate(Percent(0)) == kUnlimited);
  CHECK(EffectiveRate(Percent(100)) == kUnlimited);
}

TEST_CASE("The default policy follows the agent's grant up and down") {
  ComputeShare share = Percent(30);
  share.grant_ppm = 800'000;
  CHECK(EffectiveRate(share) == 800'000);
  share.grant_ppm = 10'000;
  CHECK(EffectiveRate(share) == 10'000);
  share.grant_ppm = kUnlimited;
  CHECK(EffectiveRate(share) == kUnlimited);
}

TEST_CASE("The force policy never borrows, and still yields") {
  ComputeShare share = Percent(30);
  share.policy = CorePolicy::kForce;
  share.grant_ppm = 800'000;
  CHECK(EffectiveRate(share) == 300'000);
  share.grant_ppm = kUnlimited;
  CHECK(EffectiveRate(share) == 300'000);
  share.grant_ppm = 10'000;
  CHECK(EffectiveRate(share) == 10'000);
}

TEST_CASE("The disable policy is limited by priority only") {
  ComputeShare share = Percent(30);
  share.policy = CorePolicy::kDisable;
  CHECK(EffectiveRate(share) == kUnlimited);
  share.grant_ppm = 10'000;
  CHECK(EffectiveRate(share) == 10'000);
}

TEST_CASE("The trim scales a rate and leaves unlimited alone") {
  ComputeShare share = Percent(40);
  share.trim_ppm = 1'500'000;
  CHECK(EffectiveRate(share) == 600'000);
  CHECK(EffectiveRate({.cores_percent = 0, .trim_ppm = 500'000, .grant_ppm = kNoGrant}) == kUnlimited);
}

TEST_CASE("Neighbours are unknown until the agent speaks") {
  ComputeShare share = Percent(40);
  CHECK(NeighboursOf(share) == Neighbours::kUnknown);
  share.neighbours_known = true;
  CHECK(NeighboursOf(share) == Neighbours::kNone);
  share.neighbours_busy = true;
  CHECK(NeighboursOf(share) == Neighbours::kBusy);
}

}  // namespace
}  // namespace partage::intercept::limiter
