// SPDX-License-Identifier: Apache-2.0
#include "shm/ledger.h"

#include <signal.h>
#include <sys/time.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace partage::shm {
namespace {

constexpr unsigned kSlots = 3;
constexpr unsigned kDevices = 2;

/// What the books must say, kept the simple way.
struct Oracle {
  std::array<std::array<std::array<std::uint64_t, kMemoryClasses>, kDevices>, kSlots> held{};

  std::uint64_t Held(unsigned slot, unsigned device) const {
    std::uint64_t sum = 0;
    for (const std::uint64_t bytes : held[slot][device]) sum += bytes;
    return sum;
  }
  std::uint64_t Used(unsigned device) const {
    std::uint64_t sum = 0;
    for (unsigned slot = 0; slot < kSlots; ++slot) sum += Held(slot, device);
    return sum;
  }
};

void CheckBooks(const RegionLayout& region, const Oracle& oracle) {
  for (unsigned device = 0; device < kDevices; ++device) {
    REQUIRE(region.devices[device].used.load() == oracle.Used(device));
    for (unsigned slot = 0; slot < kSlots; ++slot) {
      for (unsigned c = 0; c < kMemoryClasses; ++c) REQUIRE(Held(region.slots[slot], device, c) == oracle.held[slot][device][c]);
    }
  }
  REQUIRE(IsPlausible(region));
}

/// One random operation on both.
void Step(RegionLayout& region, Oracle& oracle, std::mt19937_64& random) {
  const unsigned slot = random() % kSlots;
  const unsigned device = random() % kDevices;
  const unsigned c = random() % kMemoryClasses;
  std::uint64_t& held = oracle.held[slot][device][c];
  const unsigned what = random() % 100;
  if (what < 1) {
    Settle(region, slot);
    oracle.held[slot] = {};
  } else if (what < 55) {
    const std::uint64_t limit = random() % 4096;
    const std::uint64_t bytes = random() % 16 == 0 ? ~random() % 16 : random() % 512;  // now and then close to 2^64
    const bool fits = bytes <= limit && oracle.Used(device) <= limit - bytes;
    REQUIRE(Take(region, slot, device, static_cast<MemoryClass>(c), bytes, limit) == fits);
    if (fits) held += bytes;
  } else {
    const std::uint64_t bytes = held == 0 ? 0 : random() % (held + 1);
    Give(region, slot, device, static_cast<MemoryClass>(c), bytes);
    held -= bytes;
  }
}

/// Reserves and refunds at random, and sees the books over the limit if they ever are. Ends with nothing held.
struct Worker {
  RegionLayout& region;
  unsigned slot;
  std::uint64_t limit;
  std::uint64_t highest = 0;

  void Run(unsigned seed, int rounds) {
    std::mt19937 random(seed);
    std::vector<std::uint64_t> held;
    for (int i = 0; i < rounds; ++i) {
      const std::uint64_t bytes = 1 + random() % 100;
      if (random() % 2 == 0 && Take(region, slot, 0, MemoryClass::kLinear, bytes, limit)) held.push_back(bytes);
      highest = std::max(highest, region.devices[0].used.load());
      if (held.empty() || random() % 2 == 0) continue;
      Give(region, slot, 0, MemoryClass::kLinear, held.back());
      held.pop_back();
    }
    for (const std::uint64_t bytes : held) Give(region, slot, 0, MemoryClass::kLinear, bytes);
  }
};

}  // namespace

TEST_CASE("Random reservations, refunds and settlements leave the books a simple oracle keeps") {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    const auto region = std::make_unique<RegionLayout>();
    Oracle oracle;
    std::mt19937_64 random(seed);
    for (int i = 0; i < 2000; ++i) {
      Step(*region, oracle, random);
      CheckBooks(*region, oracle);
    }
  }
}

TEST_CASE("The limit is kept to the byte, and what fits to the byte is granted") {
  const auto region = std::make_unique<RegionLayout>();
  CHECK(Take(*region, 0, 0, MemoryClass::kLinear, 60, 100));
  CHECK_FALSE(Take(*region, 1, 0, MemoryClass::kLinear, 41, 100));
  CHECK(Take(*region, 1, 0, MemoryClass::kLinear, 40, 100));
  CHECK_FALSE(Take(*region, 0, 0, MemoryClass::kLinear, 1, 100));
  CHECK(Take(*region, 0, 0, MemoryClass::kLinear, 0, 100));
  CHECK(region->devices[0].used.load() == 100);
}

TEST_CASE("Sizes near 2^64 are refused, not wrapped") {
  const auto region = std::make_unique<RegionLayout>();
  REQUIRE(Take(*region, 0, 0, MemoryClass::kLinear, 100, ~0ull));
  for (const std::uint64_t bytes : {~0ull, ~0ull - 99, 1ull << 63}) {
    CHECK_FALSE(Take(*region, 0, 0, MemoryClass::kLinear, bytes, 1ull << 40));
    CHECK(region->devices[0].used.load() == 100);
  }
  CHECK_FALSE(Take(*region, 0, 0, MemoryClass::kLinear, ~0ull - 50, ~0ull));
}

TEST_CASE("A refund of more than the device holds changes nothing") {
  const auto region = std::make_unique<RegionLayout>();
  REQUIRE(Take(*region, 0, 0, MemoryClass::kLinear, 100, 1000));
  Give(*region, 0, 0, MemoryClass::kLinear, 101);
  CHECK(region->devices[0].used.load() == 100);
  CHECK(Held(region->slots[0], 0) == 100);
}

TEST_CASE("Devices are accounted apart") {
  const auto region = std::make_unique<RegionLayout>();
  for (unsigned device = 0; device < kMaxDevices; ++device) REQUIRE(Take(*region, 0, device, MemoryClass::kVmm, device + 1, 100));
  for (unsigned device = 0; device < kMaxDevices; ++device) CHECK(region->devices[device].used.load() == device + 1);
  Settle(*region, 0);
  for (unsigned device = 0; device < kMaxDevices; ++device) CHECK(region->devices[device].used.load() == 0);
}

TEST_CASE("Threads of several slots together never pass the limit and lose nothing") {
  const auto region = std::make_unique<RegionLayout>();
  constexpr std::uint64_t kLimit = 1000;
  std::vector<Worker> workers;
  for (unsigned i = 0; i < 8; ++i) workers.push_back({*region, i % 2, kLimit});
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < workers.size(); ++i) threads.emplace_back([&workers, i] { workers[i].Run(i, 3000); });
  for (std::thread& thread : threads) thread.join();
  for (const Worker& worker : workers) CHECK(worker.highest <= kLimit);
  CHECK(region->devices[0].used.load() == 0);
  for (unsigned slot = 0; slot < 2; ++slot) CHECK(Held(region->slots[slot], 0) == 0);
}

TEST_CASE("More threads than lanes, as they come and go, pass no limit and lose nothing") {
  const auto region = std::make_unique<RegionLayout>();
  constexpr std::uint64_t kLimit = 500;
  Worker first{*region, 0, kLimit};
  first.Run(99, 10);  // so that one that lives on has a lane of its own
  for (unsigned generation = 0; generation < 20; ++generation) {
    std::vector<Worker> workers(2 * kLanes, {*region, 0, kLimit});
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < workers.size(); ++i)
      threads.emplace_back([&workers, i, generation] { workers[i].Run(generation * 100 + i, 300); });
    first.Run(generation, 300);
    for (std::thread& thread : threads) thread.join();
    for (const Worker& worker : workers) REQUIRE(worker.highest <= kLimit);
    REQUIRE(region->devices[0].used.load() == 0);
    REQUIRE(Held(region->slots[0], 0) == 0);
  }
}

RegionLayout* g_interrupted = nullptr;
std::atomic<int> g_interruptions = 0;

TEST_CASE("A signal's handler reserves and refunds in the middle of its thread's reservation") {
  const auto region = std::make_unique<RegionLayout>();
  g_interrupted = region.get();
  struct sigaction action = {};
  action.sa_handler = [](int) {
    if (!Take(*g_interrupted, 0, 0, MemoryClass::kPool, 1, 1000)) return;  // the thread has it all
    ++g_interruptions;
    Give(*g_interrupted, 0, 0, MemoryClass::kPool, 1);
  };
  struct sigaction before = {};
  REQUIRE(sigaction(SIGALRM, &action, &before) == 0);
  const itimerval often = {.it_interval = {0, 50}, .it_value = {0, 50}}, never = {};
  setitimer(ITIMER_REAL, &often, nullptr);
  for (unsigned turn = 0; g_interruptions < 500; ++turn) {
    Worker worker{*region, 0, 1000};
    worker.Run(turn, 1000);
  }
  setitimer(ITIMER_REAL, &never, nullptr);
  sigaction(SIGALRM, &before, nullptr);
  CHECK(region->devices[0].used.load() == 0);
  CHECK(Held(region->slots[0], 0) == 0);
  CHECK(IsPlausible(*region));
}

TEST_CASE("Memory reserved by one thread may be refunded by another") {
  const auto region = std::make_unique<RegionLayout>();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&region] { Take(*region, 0, 0, MemoryClass::kPool, 100, 1000); });
    threads.back().join();
  }
  REQUIRE(region->devices[0].used.load() == 800);
  std::thread([&region] { Give(*region, 0, 0, MemoryClass::kPool, 800); }).join();
  CHECK(region->devices[0].used.load() == 0);
  CHECK(Held(region->slots[0], 0, static_cast<unsigned>(MemoryClass::kPool)) == 0);
  Settle(*region, 0);
  CHECK(region->devices[0].used.load() == 0);
}

TEST_CASE("A settlement returns what the lanes hold together, even when one is below zero") {
  const auto region = std::make_unique<RegionLayout>();
  REQUIRE(Take(*region, 1, 0, MemoryClass::kLinear, 7, 1000));
  REQUIRE(Take(*region, 0, 0, MemoryClass::kLinear, 300, 1000));
  // As threads of other lanes would have left it: 300 in one lane, -100 in another, of which the device knows.
  Slot& slot = region->slots[0];
  for (Lane& lane : slot.lanes) {
    if (lane.counts[0][static_cast<unsigned>(MemoryClass::kLinear)].load() != 0) continue;
    lane.counts[0][static_cast<unsigned>(MemoryClass::kLinear)].store(-100ull);
    break;
  }
  region->devices[0].used.fetch_sub(100);
  Settle(*region, 0);
  CHECK(region->devices[0].used.load() == 7);
  CHECK(Held(slot, 0) == 0);
}

TEST_CASE("Values no correct program writes are noticed") {
  const auto region = std::make_unique<RegionLayout>();
  region->owners[3].store(KeyOf(77, 1));
  REQUIRE(Take(*region, 3, 0, MemoryClass::kLinear, 5, 10));
  REQUIRE(IsPlausible(*region));
  const auto damage = [&](Word& word, std::uint64_t value) {
    const std::uint64_t before = word.exchange(value);
    CHECK_FALSE(IsPlausible(*region));
    word.store(before);
    REQUIRE(IsPlausible(*region));
  };
  damage(region->devices[0].used, 1ull << 60);
  damage(region->devices[0].last, ~0ull);
  damage(region->owners[9], 5);  // a time without a pid
  damage(region->slots[3].lanes[2].busy, 2);
  damage(region->slots[3].lanes[2].intent, 1000);
  damage(region->slots[3].lanes[2].intent_where, kMaxDevices * 16);
  damage(region->slots[3].lanes[2].intent_where, kMemoryClasses);
}

}  // namespace partage::shm
