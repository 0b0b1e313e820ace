// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/covered.h"

#include <catch2/catch.hpp>

#include <random>
#include <set>
#include <vector>

namespace partage::intercept::memory {
namespace {

std::uint64_t Covered(std::vector<Range> ranges, unsigned device = 0) {
  GraphFootprint footprint{};
  AddCovered(ranges.data(), ranges.size(), &footprint);
  return footprint.bytes[device];
}

}  // namespace

TEST_CASE("Blocks that never live at the same time and share addresses count once") {
  CHECK(Covered({}) == 0);
  CHECK(Covered({{100, 200, 0}}) == 100);
  CHECK(Covered({{100, 200, 0}, {200, 300, 0}}) == 200);
  CHECK(Covered({{100, 200, 0}, {100, 200, 0}}) == 100);
  CHECK(Covered({{150, 180, 0}, {100, 200, 0}}) == 100);
  CHECK(Covered({{150, 250, 0}, {100, 200, 0}, {400, 401, 0}}) == 151);
}

TEST_CASE("Each device counts its own blocks, and what was there is added to") {
  std::vector<Range> ranges = {{500, 600, 3}, {100, 250, 1}, {550, 700, 3}};
  GraphFootprint footprint{};
  footprint.bytes[3] = 1000;
  AddCovered(ranges.data(), ranges.size(), &footprint);
  CHECK(footprint.bytes[1] == 150);
  CHECK(footprint.bytes[3] == 1200);
  CHECK(footprint.bytes[0] == 0);
}

TEST_CASE("Ranges in any order cover what their bytes are") {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    std::vector<Range> ranges;
    std::set<std::uint64_t> bytes;
    for (unsigned i = random() % 40; i > 0; --i) {
      const std::uint64_t begin = random() % 300;
      const std::uint64_t end = begin + random() % 30;
      ranges.push_back({begin, end, 0});
      for (std::uint64_t byte = begin; byte < end; ++byte) bytes.insert(byte);
    }
    REQUIRE(Covered(ranges) == bytes.size());
  }
}

}  // namespace partage::intercept::memory
