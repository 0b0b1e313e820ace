// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/pool_account.h"

#include <catch2/catch.hpp>
#include <random>
#include <vector>

namespace partage::intercept::memory {
namespace {

TEST_CASE("A pool that grew by less than was held gives the rest back") {
  PoolAccount account;
  account.Hold(100);
  const auto settled = account.Settle(100, 64);
  CHECK(settled.refund == 36);
  CHECK(settled.excess == 0);
  CHECK(account.charged() == 64);
}

TEST_CASE("A pool that grew by more than was held is charged for it all") {
  PoolAccount account;
  account.Hold(10);
  const auto settled = account.Settle(10, 64);
  CHECK(settled.refund == 0);
  CHECK(settled.excess == 54);
  CHECK(account.charged() == 64);
}

TEST_CASE("One thread's settling leaves the others' holds charged") {
  PoolAccount account;
  account.Hold(100);
  account.Hold(50);
  CHECK(account.Settle(100, 100).refund == 0);  // whether the 50 are inside the 100 is not known yet
  CHECK(account.charged() == 150);
  CHECK(account.Settle(50, 150).refund == 0);
  CHECK(account.charged() == 150);
}

TEST_CASE("A trimmed pool gives back what it let go") {
  PoolAccount account;
  account.Hold(100);
  account.Settle(100, 100);
  CHECK(account.Settle(0, 40).refund == 60);
}

TEST_CASE("Whatever the order of holds, growths, trims and settlings, the charge covers the pool and ends equal to it") {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    PoolAccount account;
    std::uint64_t reserved = 0, device = 0;  // the pool's truth; what the device was charged
    struct Call {
      std::uint64_t hold;
      bool grown;
    };
    std::vector<Call> inside;
    for (unsigned step = 0; step < 200 || !inside.empty(); ++step) {
      const auto dice = random() % 4;
      if (step < 200 && dice == 0) {
        inside.push_back({random() % 100 + 1, false});
        account.Hold(inside.back().hold);
        device += inside.back().hold;
      } else if (dice == 1 && !inside.empty()) {
        Call& call = inside[random() % inside.size()];
        if (!call.grown) reserved += random() % (call.hold + 1);
        call.grown = true;
      } else if (!inside.empty() && inside[random() % inside.size()].grown && inside.front().grown) {
        const auto settled = account.Settle(inside.front().hold, reserved);
        inside.erase(inside.begin());
        REQUIRE(settled.excess == 0);
        device -= settled.refund;
      } else if (dice == 3 && reserved > 0) {
        reserved -= random() % reserved;
      } else if (!inside.empty()) {
        inside.front().grown = true;
      }
      REQUIRE(device == account.charged());
      REQUIRE(account.charged() >= reserved);
    }
    device -= account.Settle(0, reserved).refund;
    CHECK(device == reserved);
    CHECK(account.held() == 0);
  }
}

}  // namespace
}  // namespace partage::intercept::memory
