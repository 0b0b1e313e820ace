// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/holdings.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace partage::intercept::memory {
namespace {

constexpr Kinds kFreed{Kind::kLinear, Kind::kManaged};

Holding Linear(std::uint64_t bytes, unsigned owner = 0) {
  return {.bytes = bytes, .device = 3, .kind_of = static_cast<std::uint64_t>(Kind::kLinear), .owner = owner};
}

TEST_CASE("A holding comes back once, as it was put") {
  auto table = std::make_unique<Holdings>();
  Holding replaced{}, taken{};
  REQUIRE(table->Put(0x7000, Linear(Holding::kMostBytes, 255), &replaced));
  CHECK(replaced.bytes == 0);
  REQUIRE(table->Take(0x7000, kFreed, &taken));
  CHECK(taken.bytes == Holding::kMostBytes);
  CHECK(taken.device == 3);
  CHECK(taken.kind() == Kind::kLinear);
  CHECK(taken.owner == 255);
  CHECK_FALSE(table->Take(0x7000, kFreed, &taken));
}

TEST_CASE("A way of freeing does not find what it cannot free") {
  auto table = std::make_unique<Holdings>();
  Holding replaced{}, taken{};
  REQUIRE(table->Put(0x7000, Linear(10), &replaced));
  CHECK_FALSE(table->Take(0x7000, Kinds(Kind::kArray, Kind::kPool), &taken));
  CHECK(table->size() == 1);
  table->ResetInChild();
}

TEST_CASE("An address the driver hands out twice gives back the record of the first") {
  auto table = std::make_unique<Holdings>();
  Holding replaced{};
  REQUIRE(table->Put(0x7000, Linear(10), &replaced));
  REQUIRE(table->Put(0x7000, Linear(20), &replaced));
  CHECK(replaced.bytes == 10);
  CHECK(table->size() == 1);
  table->ResetInChild();
}

TEST_CASE("What a context owned is found when it dies, and nothing else") {
  auto table = std::make_unique<Holdings>();
  Holding replaced{};
  for (std::uint64_t i = 1; i <= 3000; ++i) REQUIRE(table->Put(i * 512, Linear(i, i % 3), &replaced));
  std::uint64_t sum = 0, expected = 0;
  for (std::uint64_t i = 1; i <= 3000; ++i) expected += i % 3 == 2 ? i : 0;
  table->TakeOwned(2, kFreed, [&](std::uint64_t key, const Holding& holding) {
    CHECK(key == holding.bytes * 512);
    sum += holding.bytes;
  });
  CHECK(sum == expected);
  CHECK(table->size() == 2000);
  table->ResetInChild();
  CHECK(table->size() == 0);
}

/// A driver that gives the address freed last to whoever asks next: the worst case for a table beside it.
class ReusingDriver {
 public:
  std::uint64_t Allocate() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return ++last_ * 512;
    const std::uint64_t address = free_.back();
    free_.pop_back();
    return address;
  }
  void Free(std::uint64_t address) {
    const std::lock_guard lock(mutex_);
    free_.push_back(address);
  }

 private:
  std::mutex mutex_;
  std::vector<std::uint64_t> free_;
  std::uint64_t last_ = 0;
};

TEST_CASE("Threads that allocate and free beside a driver that reuses addresses at once never lose or double a record") {
  auto table = std::make_unique<Holdings>();
  ReusingDriver driver;
  std::atomic<std::int64_t> charged{0};
  std::atomic<bool> failed{false};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      std::vector<std::pair<std::uint64_t, std::uint64_t>> mine;
      for (unsigned step = 0; step < 8000 || !mine.empty(); ++step) {
        if (step < 8000 && (mine.empty() || random() % 2 == 0)) {
          const std::uint64_t bytes = random() % 1000 + 1;
          charged += static_cast<std::int64_t>(bytes);
          mine.emplace_back(driver.Allocate(), bytes);
          Holding replaced{};
          if (!table->Put(mine.back().first, Linear(bytes), &replaced) || replaced.bytes != 0) failed = true;
        } else {
          std::swap(mine[random() % mine.size()], mine.back());
          Holding taken{};
          if (!table->Take(mine.back().first, kFreed, &taken) || taken.bytes != mine.back().second) failed = true;
          driver.Free(mine.back().first);
          charged -= static_cast<std::int64_t>(taken.bytes);
          mine.pop_back();
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK_FALSE(failed);
  CHECK(charged == 0);
  CHECK(table->size() == 0);
  table->ResetInChild();
}

}  // namespace
}  // namespace partage::intercept::memory
