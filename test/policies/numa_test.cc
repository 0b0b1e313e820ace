// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "test/policies/candidates.h"

namespace partage::scheduler {
namespace {

using Places = std::vector<std::size_t>;
using test::Candidates;

Places Choose(const Candidates& candidates, std::size_t count) { return test::MakePolicy("numa")->Choose(candidates, count); }

TEST_CASE("Numa leaves a single device to the next policy") { CHECK(Choose(Candidates().Numa(0).Numa(1), 1).empty()); }

TEST_CASE("Numa takes the smallest NUMA node that holds all devices, so that larger ones stay whole") {
  const auto candidates = Candidates().Numa(0).Numa(0).Numa(0).Numa(1).Numa(1);
  CHECK(Choose(candidates, 2) == Places{3, 4});
  CHECK(Choose(candidates, 3) == Places{0, 1, 2});
}

TEST_CASE("Numa takes the best-ranked devices inside a NUMA node") {
  CHECK(Choose(Candidates().Numa(1).Numa(0).Numa(1).Numa(0).Numa(1).Numa(0), 2) == Places{0, 2});
}

TEST_CASE("Numa fills from the largest NUMA nodes when none holds all devices") {
  const auto candidates = Candidates().Numa(0).Numa(1).Numa(1).Numa(1).Numa(2).Numa(2);
  CHECK(Choose(candidates, 4) == Places{1, 2, 3, 4});
  CHECK(Choose(candidates, 6) == Places{1, 2, 3, 4, 5, 0});
}

}  // namespace
}  // namespace partage::scheduler
