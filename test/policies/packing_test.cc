// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "test/policies/candidates.h"

namespace partage::scheduler {
namespace {

using test::Candidates;
using test::MakePolicy;

constexpr Amount kTotal{.slots = 10, .mib = 10'000, .cores = 100};
constexpr Amount kDemand{.slots = 1, .mib = 1'000, .cores = 10};
constexpr NodeView kFull{.used = {.slots = 5, .mib = 5'000, .cores = 50}, .total = kTotal};
constexpr NodeView kEmpty{.used = {}, .total = kTotal};

TEST_CASE("Binpack prefers the fuller node and the fuller device") {
  const auto policy = MakePolicy("binpack");
  CHECK(policy->RankNode(kFull, kDemand, {}) > policy->RankNode(kEmpty, kDemand, {}));
  Candidates devices;
  devices.Numa(0).Used(3, 3'000, 30).Numa(0);
  CHECK(policy->RankDevice(devices.views()[0], kDemand, {}) > policy->RankDevice(devices.views()[1], kDemand, {}));
}

TEST_CASE("Spread prefers the emptier node and the emptier device") {
  const auto policy = MakePolicy("spread");
  CHECK(policy->RankNode(kFull, kDemand, {}) < policy->RankNode(kEmpty, kDemand, {}));
  Candidates devices;
  devices.Numa(0).Used(3, 3'000, 30).Numa(0);
  CHECK(policy->RankDevice(devices.views()[0], kDemand, {}) < policy->RankDevice(devices.views()[1], kDemand, {}));
}

TEST_CASE("The demand counts: the same share fills a small node more than a large one") {
  const NodeView large{.used = {}, .total = {.slots = 80, .mib = 80'000, .cores = 800}};
  CHECK(MakePolicy("binpack")->RankNode(kEmpty, kDemand, {}) > MakePolicy("binpack")->RankNode(large, kDemand, {}));
  CHECK(MakePolicy("spread")->RankNode(kEmpty, kDemand, {}) < MakePolicy("spread")->RankNode(large, kDemand, {}));
}

TEST_CASE("Weights can turn the preference") {
  Candidates devices;
  devices.Numa(0).Used(1, 8'000, 0).Numa(0).Used(1, 0, 80);
  const auto policy = MakePolicy("binpack");
  const auto first_wins = [&](const device::ScoringWeights& weights) {
    return policy->RankDevice(devices.views()[0], kDemand, weights) > policy->RankDevice(devices.views()[1], kDemand, weights);
  };
  CHECK(first_wins({.slot = 1, .core = 1, .memory = 3}));
  CHECK_FALSE(first_wins({.slot = 1, .core = 3, .memory = 1}));
}

TEST_CASE("Mutex admits only devices that nobody uses") {
  const auto policy = MakePolicy("mutex");
  Candidates devices;
  devices.Numa(0).Numa(0).Used(1, 0, 0);
  CHECK(policy->Admits(devices.views()[0]));
  CHECK_FALSE(policy->Admits(devices.views()[1]));
}

}  // namespace
}  // namespace partage::scheduler
