// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "test/policies/candidates.h"

namespace partage::scheduler {
namespace {

using Places = std::vector<std::size_t>;
using test::Candidates;

Places Choose(std::span<const DeviceView> candidates, std::size_t count) {
  auto places = test::MakePolicy("topology-aware")->Choose(candidates, count);
  std::sort(places.begin(), places.end());
  return places;
}

// Eight cards: NVLink pairs inside each half, PCIe between the halves.
Candidates TwoHalves() {
  Candidates candidates;
  candidates.Several(8);
  for (std::size_t a = 0; a < 8; ++a) {
    for (std::size_t b = a + 1; b < 8; ++b) candidates.Link(a, b, a / 4 == b / 4 ? 220 : 10);
  }
  return candidates;
}

std::int64_t Links(std::span<const DeviceView> candidates, const Places& places) {
  std::int64_t sum = 0;
  for (const auto a : places) {
    for (const auto b : places) sum += candidates[a].device->links[static_cast<std::size_t>(candidates[b].position)];
  }
  return sum / 2;
}

TEST_CASE("Without links there is no opinion") { CHECK(Choose(Candidates().Several(4), 2).empty()); }

TEST_CASE("Several devices are the best-linked set") {
  auto candidates = TwoHalves();
  CHECK(Choose(candidates, 4) == Places{0, 1, 2, 3});
  candidates.Link(5, 6, 620);
  CHECK(Choose(candidates, 2) == Places{5, 6});
  CHECK(Choose(candidates, 4) == Places{4, 5, 6, 7});
}

TEST_CASE("Candidates are found by their position in the node, not by their rank") {
  auto candidates = TwoHalves();
  candidates.Link(5, 6, 620);
  std::reverse(candidates.views().begin(), candidates.views().end());
  CHECK(Choose(candidates, 2) == Places{1, 2});
}

TEST_CASE("Equally good sets are decided by rank") { CHECK(Choose(TwoHalves(), 2) == Places{0, 1}); }

TEST_CASE("A single device is the one that the sets left over miss least") {
  Candidates candidates;
  candidates.Several(3).Link(0, 1, 200).Link(1, 2, 10).Link(0, 2, 20);
  CHECK(Choose(candidates, 1) == Places{2});
  CHECK(Choose(Candidates().Several(1).Link(0, 0, 0), 1) == Places{0});
}

TEST_CASE("A link that only one end publishes counts") {
  Candidates candidates;
  candidates.Several(4).Link(0, 1, 50).OneWay(2, 3, 60);
  CHECK(Choose(candidates, 2) == Places{2, 3});
}

TEST_CASE("All candidates are taken when all are wanted") { CHECK(Choose(TwoHalves(), 8).size() == 8); }

TEST_CASE("A crowd too large to look at every set still gets its best-linked group") {
  Candidates candidates;
  candidates.Several(40);
  for (std::size_t a = 20; a < 32; ++a) {
    for (std::size_t b = a + 1; b < 32; ++b) candidates.Link(a, b, 300);
  }
  const auto places = Choose(candidates, 12);
  REQUIRE(places.size() == 12);
  CHECK(places.front() == 20);
  CHECK(places.back() == 31);
}

TEST_CASE("Up to sixteen candidates the choice is the best there is") {
  std::mt19937 random(8);
  for (int round = 0; round < 200; ++round) {
    const auto size = 2 + random() % 7;
    Candidates candidates;
    candidates.Several(size);
    for (std::size_t a = 0; a < size; ++a) {
      for (std::size_t b = a + 1; b < size; ++b) candidates.Link(a, b, static_cast<std::int32_t>(random() % 50));
    }
    const auto count = 2 + random() % (size - 1);
    std::int64_t best = 0;
    for (std::uint32_t subset = 0; subset < (1U << size); ++subset) {
      Places places;
      for (std::size_t i = 0; i < size; ++i) {
        if (subset & (1U << i)) places.push_back(i);
      }
      if (places.size() == count) best = std::max(best, Links(candidates, places));
    }
    REQUIRE(Links(candidates, Choose(candidates, count)) == best);
  }
}

}  // namespace
}  // namespace partage::scheduler
