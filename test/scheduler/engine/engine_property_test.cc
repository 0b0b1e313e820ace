// SPDX-License-Identifier: Apache-2.0
// Random pods through filter, bind and death, as kube-scheduler drives them, with several at once in flight.
#include <map>
#include <random>
#include <thread>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "scheduler/engine/engine.h"
#include "test/support/builders.h"
#include "test/support/manual_clock.h"

namespace partage::scheduler {
namespace {

using test::Ask;
using test::Input;
using test::Node;
using test::Ref;

int Below(std::mt19937& random, int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); }

Ask RandomAsk(std::mt19937& random) {
  static const std::vector<std::vector<std::string>> kChains = {{},       {"binpack"},        {"spread"},
                                                                {"numa"}, {"topology-aware"}, {"mutex", "numa", "spread"}};
  Ask ask;
  if (Below(random, 4) == 0) ask.Init(1).Mib(Below(random, 900));
  if (Below(random, 5) == 0) ask.Sidecar(1).Mib(1 + Below(random, 200)).Cores(Below(random, 20));
  for (int c = 1 + Below(random, 2); c > 0; --c) {
    ask.App(1 + Below(random, 3));
    if (Below(random, 3) == 0) {
      ask.Percent(1 + Below(random, 100));
    } else {
      ask.Mib(1 + Below(random, 600));
    }
    ask.Cores(Below(random, 5) == 0 ? 100 : Below(random, 60));
  }
  ask.DevicePolicies(kChains[static_cast<std::size_t>(Below(random, static_cast<int>(kChains.size())))]);
  if (Below(random, 2) == 0) ask.NodePolicy("spread");
  return ask;
}

struct World {
  test::ManualClock clock;
  Cluster cluster{clock};
  Probe probe;
  std::unique_ptr<Engine> engine = std::move(*Engine::Make(cluster, clock, {}, probe));
  std::vector<std::string> names;
  std::vector<std::string_view> candidates;

  explicit World(int nodes) {
    for (int n = 0; n < nodes; ++n) names.push_back(fmt::format("n{}", n));
    for (const auto& name : names) {
      cluster.ObserveNode(Node(name).Gpu(1000).Numa(0).Gpu(1000).Numa(0).Gpu(800).Numa(1).Gpu(600).Numa(1));
      candidates.push_back(name);
    }
    cluster.Publish();
  }
  void Check() const {
    const auto sound = cluster.CheckInvariants();
    INFO((sound ? "" : sound.error().message));
    REQUIRE(sound.has_value());
    REQUIRE(cluster.counts().overcommitted_devices == 0);
  }
};

TEST_CASE("Whatever pods come and go, no device is over-allocated, and what filter promises bind keeps") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 12; ++round) {
    World world(3);
    std::vector<std::string> bound;
    for (int step = 0; step < 120; ++step) {
      const std::string name = fmt::format("p{}", step);
      const auto outcome = world.engine->Filter(Input(name, RandomAsk(random)), world.candidates);
      REQUIRE((outcome.fitting.empty() != outcome.refusals.empty()));
      if (!outcome.fitting.empty() && Below(random, 4) != 0) {
        auto reservation = world.engine->Reserve(Ref(name), outcome.fitting_names.front());
        REQUIRE(reservation.has_value());
        if (Below(random, 5) != 0) {
          reservation->Commit();
          bound.push_back(name);
        }
      }
      if (!bound.empty() && Below(random, 3) == 0) {
        std::swap(bound[static_cast<std::size_t>(Below(random, static_cast<int>(bound.size())))], bound.back());
        world.cluster.ForgetPod(Ref(bound.back()));
        bound.pop_back();
      }
      world.clock.Advance(std::chrono::seconds(Below(random, 4)));
      world.cluster.ExpireNominals();
      world.Check();
    }
  }
}

TEST_CASE("A refusal is right: nothing that is refused fits when asked again, node by node") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  World world(3);
  for (int step = 0; step < 200; ++step) {
    const Ask ask = RandomAsk(random);
    const std::string name = fmt::format("p{}", step);
    const auto outcome = world.engine->Filter(Input(name, ask), world.candidates);
    for (const Refusal& refusal : outcome.refusals) {
      CHECK(world.engine->Explain(ask, refusal.node) != "fits");
      CHECK_FALSE(world.engine->Reserve(Ref("probe"), refusal.node, ask).has_value());
    }
  }
  world.Check();
}

TEST_CASE("Filters, binds and watch events from many threads keep the books") {
  World world(4);
  const auto run = [&world](unsigned seed) {
    std::mt19937 random(seed);
    for (int step = 0; step < 150; ++step) {
      const std::string name = fmt::format("t{}-{}", seed, step);
      const auto outcome = world.engine->Filter(Input(name, RandomAsk(random)), world.candidates);
      if (outcome.fitting.empty()) continue;
      auto reservation = world.engine->Reserve(Ref(name), outcome.fitting_names.front());
      if (!reservation) continue;
      reservation->Commit();
      if (Below(random, 3) != 0) world.cluster.ForgetPod(Ref(name));
      world.cluster.Publish();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (unsigned t = 0; t < 4; ++t) threads.emplace_back(run, t);
  }
  world.Check();
}

}  // namespace
}  // namespace partage::scheduler
