// SPDX-License-Identifier: Apache-2.0
#include "intercept/limiter/governor.h"

#include <catch2/catch.hpp>
#include <vector>

namespace partage::intercept::limiter {
namespace {

constexpr int64_t kStart = 1'000'000'000;

Tenant WithLimit(int32_t cores, uint32_t priority = 1) { return {.cores_percent = cores, .priority = priority}; }

/// A device whose tenants are told to launch or not at every tick.
struct Device {
  std::vector<Tenant> tenants;
  int64_t now = kStart;

  void Run(int64_t ns, const std::vector<bool>& launching) {
    for (const int64_t end = now + ns; now < end; now += Governor::kTickNs) {
      for (size_t i = 0; i < tenants.size(); ++i) tenants[i].spent_ns += launching[i] ? 1'000 : 0;
      Governor::Tick(tenants.data(), static_cast<int>(tenants.size()), now);
    }
  }
  RatePpm grant(size_t i) const { return tenants[i].grant_ppm; }
};

constexpr int64_t kLong = 200'000'000;

TEST_CASE("Two that are busy have their limits") {
  Device device{{WithLimit(30), WithLimit(70)}};
  device.Run(kLong, {true, true});
  CHECK(device.grant(0) == 300'000);
  CHECK(device.grant(1) == 700'000);
  CHECK((device.tenants[0].neighbours_busy && device.tenants[1].neighbours_busy));
}

TEST_CASE("Alone, the default policy has nearly the whole GPU, and the force policy its limit") {
  Device device{{WithLimit(30), WithLimit(70)}};
  device.Run(kLong, {true, false});
  CHECK(device.grant(0) == Governor::kAlonePpm);
  CHECK_FALSE(device.tenants[0].neighbours_busy);
  CHECK(device.tenants[1].neighbours_busy);
  device.tenants[0].policy = CorePolicy::kForce;
  device.Run(kLong, {true, false});
  CHECK(device.grant(0) == 300'000);
}

TEST_CASE("An idle share is lent to soft neighbours by the size of their limits, and not to others") {
  Device device{{WithLimit(10), WithLimit(30), WithLimit(20), WithLimit(40)}};
  device.tenants[0].soft = device.tenants[1].soft = true;
  device.Run(kLong, {true, true, true, false});
  CHECK(device.grant(0) == 200'000);
  CHECK(device.grant(1) == 600'000);
  CHECK(device.grant(2) == 200'000);
}

TEST_CASE("A lender that launches has its share back at the next tick") {
  Device device{{WithLimit(30), WithLimit(70)}};
  device.tenants[0].soft = true;
  device.Run(kLong, {true, false});
  REQUIRE(device.grant(0) == Governor::kAlonePpm);
  device.Run(Governor::kTickNs, {true, true});
  CHECK(device.grant(0) == 300'000);
  CHECK(device.grant(1) == 700'000);
}

TEST_CASE("A wait counts as activity, a short pause does not end it") {
  Device device{{WithLimit(30), WithLimit(70)}};
  device.Run(kLong, {true, false});
  device.tenants[1].hungry_stamp_ns = device.now;
  device.Run(Governor::kTickNs, {true, false});
  CHECK(device.grant(0) == 300'000);
  device.Run(Governor::kIdleAfterNs / 2, {true, false});
  CHECK(device.grant(0) == 300'000);
  device.Run(kLong, {true, false});
  CHECK(device.grant(0) == Governor::kAlonePpm);
}

TEST_CASE("While priority 0 is active, priority 1 has next to nothing, but never nothing") {
  for (CorePolicy policy : {CorePolicy::kDefault, CorePolicy::kForce, CorePolicy::kDisable}) {
    Device device{{WithLimit(50, 0), WithLimit(50, 1), WithLimit(0, 1)}};
    device.tenants[1].policy = policy;
    device.Run(kLong, {true, true, true});
    CHECK(device.grant(0) == 500'000);
    CHECK(device.grant(1) == Governor::kStarvedPpm);
    CHECK(device.grant(2) == Governor::kStarvedPpm);
    device.Run(Governor::kIdleAfterNs + 2 * Governor::kTickNs, {false, true, true});
    CHECK(device.grant(1) != Governor::kStarvedPpm);
  }
}

TEST_CASE("Tenants without a limit are unlimited and lend nothing") {
  Device device{{WithLimit(0), WithLimit(30)}};
  device.tenants[1].soft = true;
  device.Run(kLong, {true, true});
  CHECK(device.grant(0) == kUnlimited);
  CHECK(device.grant(1) == 300'000);
}

TEST_CASE("Limits that add up to more than the GPU are granted as they are") {
  Device device{{WithLimit(80), WithLimit(80)}};
  device.tenants[0].soft = true;
  device.Run(kLong, {true, true});
  CHECK(device.grant(0) == 800'000);
}

TEST_CASE("The trim is what was charged over what was used") {
  Trim trim;
  for (int i = 0; i < 30; ++i) trim.Update(200'000'000, 400'000'000);
  CHECK(trim.ppm() == Approx(500'000).epsilon(0.02));
  for (int i = 0; i < 200; ++i) trim.Update(600'000'000, 400'000'000);
  CHECK(trim.ppm() == Approx(1'500'000).epsilon(0.001));
}

TEST_CASE("The trim waits for evidence and stays within bounds") {
  Trim trim;
  trim.Update(1'000'000, 10'000'000);
  CHECK(trim.ppm() == Approx(1'000'000).epsilon(0.02));
  for (int i = 0; i < 100; ++i) trim.Update(1'000'000, 900'000'000);
  CHECK(trim.ppm() == Trim::kLowestPpm);
  for (int i = 0; i < 300; ++i) trim.Update(900'000'000, 10'000'000);
  CHECK(trim.ppm() == Trim::kHighestPpm);
}

}  // namespace
}  // namespace partage::intercept::limiter
