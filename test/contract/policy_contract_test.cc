// SPDX-License-Identifier: Apache-2.0
// What every registered policy owes, whatever it prefers.
#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "test/policies/candidates.h"

namespace partage::scheduler {
namespace {

using test::Candidates;

// A failure says which policy.
template <class Check>
void ForEachPolicy(Check check) {
  for (const auto& [name, spec] : PolicyRegistry::All()) {
    INFO("policy " << name);
    const auto policy = test::MakePolicy(name);
    check(spec, *policy);
  }
}

Amount RandomAmount(std::mt19937_64& random, std::int64_t most) {
  const auto part = [&] { return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(most + 1)); };
  return {.slots = part(), .mib = part(), .cores = part()};
}

Candidates RandomCandidates(std::mt19937_64& random) {
  Candidates candidates;
  const auto count = 1 + random() % 10;
  for (std::size_t i = 0; i < count; ++i) candidates.Numa(static_cast<std::int32_t>(random() % 3));
  for (auto& view : candidates.views()) view.used = RandomAmount(random, 10);
  if (random() % 2) {
    for (std::size_t a = 0; a < count; ++a) {
      for (std::size_t b = a + 1; b < count; ++b) candidates.Link(a, b, static_cast<std::int32_t>(random() % 300));
    }
  }
  return candidates;
}

TEST_CASE("Every policy says what it is and what it is for") {
  CHECK(PolicyRegistry::All().size() >= 5);
  ForEachPolicy([](const PolicySpec& spec, const Policy&) {
    CHECK_FALSE(spec.summary.empty());
    CHECK((spec.for_nodes || spec.for_devices));
    CHECK(spec.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string_view::npos);
  });
}

TEST_CASE("Every policy refuses an argument it does not know, by name") {
  ForEachPolicy([](const PolicySpec& spec, const Policy&) {
    const auto made = spec.make({{"no-such-argument", "1"}});
    REQUIRE_FALSE(made.has_value());
    CHECK(made.error().code == Code::kInvalid);
    CHECK(made.error().message.find("no-such-argument") != std::string::npos);
  });
}

TEST_CASE("Scores are finite, also without capacity and with absurd amounts, and the same when asked twice") {
  std::mt19937_64 random(9);
  const auto most = std::numeric_limits<std::int64_t>::max() / 4;
  ForEachPolicy([&](const PolicySpec&, const Policy& policy) {
    Candidates one;
    one.Numa(0);
    for (int i = 0; i < 1'000; ++i) {
      const auto bound = i % 4 == 0 ? most : 100;
      auto view = one.views()[0];
      view.used = RandomAmount(random, bound);
      view.total = i % 3 == 0 ? Amount{} : RandomAmount(random, bound);
      const auto demand = RandomAmount(random, bound);
      const device::ScoringWeights weights{.slot = 0, .core = std::numeric_limits<std::int32_t>::max(), .memory = 1};
      const NodeView node{.used = view.used, .total = view.total};
      REQUIRE(std::isfinite(policy.RankDevice(view, demand, weights)));
      REQUIRE(std::isfinite(policy.RankNode(node, demand, weights)));
      REQUIRE(policy.RankDevice(view, demand, weights) == policy.RankDevice(view, demand, weights));
      REQUIRE(policy.RankNode(node, demand, weights) == policy.RankNode(node, demand, weights));
      REQUIRE(policy.Admits(view) == policy.Admits(view));
    }
  });
}

TEST_CASE("A policy that does not say it rules devices out admits them all") {
  std::mt19937_64 random(12);
  ForEachPolicy([&](const PolicySpec& spec, const Policy& policy) {
    for (int i = 0; i < 200 && !spec.restricts; ++i) {
      const auto candidates = RandomCandidates(random);
      for (const auto& view : std::span<const DeviceView>(candidates)) REQUIRE(policy.Admits(view));
    }
  });
}

TEST_CASE("A choice is nothing, or the right number of different places, and the same when asked twice") {
  std::mt19937_64 random(10);
  ForEachPolicy([&](const PolicySpec&, const Policy& policy) {
    for (int i = 0; i < 500; ++i) {
      const auto candidates = RandomCandidates(random);
      const std::span<const DeviceView> views = candidates;
      const auto count = 1 + random() % views.size();
      const auto places = policy.Choose(views, count);
      REQUIRE(policy.Choose(views, count) == places);
      if (places.empty()) continue;
      REQUIRE(places.size() == count);
      REQUIRE(std::set<std::size_t>(places.begin(), places.end()).size() == count);
      REQUIRE(*std::max_element(places.begin(), places.end()) < views.size());
    }
  });
}

TEST_CASE("The order of the candidates does not change a choice that has one best answer") {
  // Two cards alone on NUMA node 1 with the strongest link; three on NUMA node 0.
  Candidates candidates;
  candidates.Numa(0).Numa(1).Numa(0).Numa(1).Numa(0);
  for (std::size_t a = 0; a < 5; ++a) {
    for (std::size_t b = a + 1; b < 5; ++b) candidates.Link(a, b, a == 1 && b == 3 ? 620 : 110);
  }
  ForEachPolicy([&](const PolicySpec&, const Policy& policy) {
    auto views = candidates.views();
    const auto chosen_positions = [&] {
      std::set<std::int32_t> positions;
      for (const auto place : policy.Choose(views, 2)) positions.insert(views[place].position);
      return positions;
    };
    const auto expected = chosen_positions();
    const auto by_position = [](const DeviceView& a, const DeviceView& b) { return a.position < b.position; };
    while (std::next_permutation(views.begin(), views.end(), by_position)) REQUIRE(chosen_positions() == expected);
  });
}

TEST_CASE("Ranking a device costs about as much as a few divisions") {
  using Clock = std::chrono::steady_clock;
  constexpr int kCalls = 200'000;
  Candidates one;
  one.Numa(0).Used(1, 1'000, 10);
  ForEachPolicy([&](const PolicySpec& spec, const Policy& policy) {
    Score sum = 0;
    const auto start = Clock::now();
    for (int i = 0; i < kCalls; ++i) sum += policy.RankDevice(one.views()[0], {.slots = 1, .mib = i, .cores = 1}, {});
    const auto each = std::chrono::duration<double, std::nano>(Clock::now() - start).count() / kCalls;
    INFO(spec.name << ": " << each << " ns a call, sum " << sum);
    CHECK(each < 20'000);  // the promise is 1,000; a loaded machine under a sanitizer is forgiven the rest
  });
}

}  // namespace
}  // namespace partage::scheduler
