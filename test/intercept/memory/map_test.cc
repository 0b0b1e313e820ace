// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/map.h"

#include <catch2/catch.hpp>
#include <random>
#include <unordered_map>

namespace partage::intercept::memory {
namespace {

TEST_CASE("An empty map finds nothing and takes no memory to say so") {
  Map<std::uint64_t> map;
  std::uint64_t value = 7;
  CHECK(map.Find(1) == nullptr);
  CHECK_FALSE(map.Take(1, &value));
  CHECK(value == 7);
  CHECK(map.size() == 0);
}

TEST_CASE("Key 0 is never in a map") {
  Map<std::uint64_t> map;
  CHECK(map.Place(0) == nullptr);
  *map.Place(1) = 5;
  CHECK(map.Find(0) == nullptr);
  CHECK(map.size() == 1);
  map.Clear();
}

TEST_CASE("A new place is zeroed even where an older entry lay") {
  Map<std::uint64_t> map;
  *map.Place(42) = 5;
  std::uint64_t value = 0;
  REQUIRE(map.Take(42, &value));
  CHECK(value == 5);
  CHECK(*map.Place(42) == 0);
  map.Clear();
}

/// Addresses as drivers give them: multiples of 512, of 2 MiB, and host pointers; few enough that they repeat.
/// Of the pattern 0, 1 or 2, or 3: of all, which changes what the map takes for the distance of keys.
std::uint64_t SomeKey(std::mt19937_64& random, unsigned pattern) {
  const std::uint64_t n = random() % 2000 + 1;
  switch (pattern < 3 ? pattern : random() % 3) {
    case 0: return 0x7F00'0000'0000 + n * 512;
    case 1: return 0x7E00'0000'0000 + n * (2U << 20);
    default: return 0x5555'0000'0000 + n * 16;
  }
}

TEST_CASE("A map behaves as std::unordered_map under random puts, takes and sweeps") {
  for (unsigned seed = 0; seed < 4; ++seed) {
    std::mt19937_64 random(seed);
    Map<std::uint64_t> map;
    std::unordered_map<std::uint64_t, std::uint64_t> oracle;
    for (unsigned step = 0; step < 30'000; ++step) {
      const std::uint64_t key = SomeKey(random, step < 15'000 ? seed : 3);
      if (const auto dice = random() % 1000; dice < 500) {
        *map.Place(key) = step;
        oracle[key] = step;
      } else if (dice < 999) {
        std::uint64_t value = 0;
        const bool taken = map.Take(key, &value);
        const auto found = oracle.find(key);
        REQUIRE(taken == (found != oracle.end()));
        if (taken) {
          REQUIRE(value == found->second);
          oracle.erase(found);
        }
      } else {
        const auto odd = [](std::uint64_t k, std::uint64_t) { return (k >> 10 & 1U) != 0; };
        map.EraseIf(odd);
        std::erase_if(oracle, [&](const auto& entry) { return odd(entry.first, entry.second); });
      }
      REQUIRE(map.size() == oracle.size());
    }
    for (const auto& [key, value] : oracle) {
      const std::uint64_t* found = map.Find(key);
      REQUIRE(found != nullptr);
      CHECK(*found == value);
    }
    map.Clear();
  }
}

TEST_CASE("A sweep erases every match, also in a run that wraps around the end") {
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937_64 random(seed);
    Map<std::uint64_t> map;
    for (unsigned i = 0; i < 150; ++i) *map.Place(random() | 1U) = i % 2;
    std::size_t swept = 0;
    map.EraseIf([&](std::uint64_t, std::uint64_t value) {
      swept += value;
      return value == 1;
    });
    CHECK(swept == 75);
    CHECK(map.size() == 75);
    CHECK(map.FindIf([](std::uint64_t, std::uint64_t value) { return value == 1; }) == nullptr);
    map.Clear();
  }
}

}  // namespace
}  // namespace partage::intercept::memory
