// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/context_cost.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>
#include <vector>

namespace partage::intercept::memory {
namespace {

constexpr std::uint64_t kNow = 5'000'000'000'001;

struct Told {
  shm::Word word{0};
  ContextCost cost{word};

  std::uint64_t bytes() const {
    std::uint64_t bytes = ~std::uint64_t{0};
    cost.Known(&bytes);
    return bytes;
  }
};

TEST_CASE("Of many processes one measures a context's cost, and the others are told") {
  Told told;
  std::atomic<int> measuring{0};
  std::atomic<int> knowing{0};
  std::vector<std::thread> processes;
  for (int i = 0; i < 8; ++i) {
    processes.emplace_back([&] {
      std::uint64_t bytes = 0;
      if (told.cost.Claim(kNow)) {
        ++measuring;
        told.cost.Tell(300 << 20);
      }
      if (told.cost.Await(&bytes) && bytes == 300 << 20) ++knowing;
    });
  }
  for (std::thread& process : processes) process.join();
  CHECK(measuring == 1);
  CHECK(knowing == 8);
}

TEST_CASE("Who waits is woken when the cost is told, and when it is not to be had") {
  using namespace std::chrono_literals;
  const bool tell = GENERATE(true, false);
  auto shortest = std::chrono::steady_clock::duration::max();
  for (int tries = 0; tries < 5; ++tries) {  // one good one: the machine may be busy
    Told told;
    REQUIRE(told.cost.Claim(kNow));
    const auto begin = std::chrono::steady_clock::now();
    std::thread measuring([&] {
      std::this_thread::sleep_for(5ms);
      tell ? told.cost.Tell(64) : told.cost.GiveUp();
    });
    std::uint64_t bytes = 0;
    CHECK(told.cost.Await(&bytes) == tell);
    shortest = std::min(shortest, std::chrono::steady_clock::now() - begin);
    measuring.join();
  }
  CHECK(shortest < 50ms);  // half of the patience
}

TEST_CASE("A context that costs nothing is known to, and odd costs are rounded up") {
  Told told;
  CHECK(told.bytes() == ~std::uint64_t{0});
  told.cost.Tell(0);
  CHECK(told.bytes() == 0);
  CHECK_FALSE(told.cost.Claim(kNow));
  told.cost.Tell(7);
  CHECK(told.bytes() == 8);
}

TEST_CASE("A cost that could not be measured is the next process's to measure, at once") {
  Told told;
  REQUIRE(told.cost.Claim(kNow));
  CHECK_FALSE(told.cost.Claim(kNow + 1));
  told.cost.GiveUp();
  std::uint64_t bytes = 0;
  CHECK_FALSE(told.cost.Await(&bytes));
  CHECK(told.cost.Claim(kNow + 1));
}

TEST_CASE("A measurement whose process was killed, or that is from before a reboot, is not waited for by the next") {
  Told told;
  REQUIRE(told.cost.Claim(kNow));
  CHECK_FALSE(told.cost.Claim(kNow + ContextCost::kStaleNs / 2));
  CHECK(told.cost.Claim(kNow + 2 * ContextCost::kStaleNs));
  CHECK(told.cost.Claim(kNow));
}

TEST_CASE("Giving up does not take back what another process has told") {
  Told told;
  REQUIRE(told.cost.Claim(kNow));
  told.cost.Tell(64);
  told.cost.GiveUp();
  CHECK(told.bytes() == 64);
}

}  // namespace
}  // namespace partage::intercept::memory
