// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/idle_cluster.h"

#include <catch2/catch.hpp>

#include "scheduler/engine/engine.h"
#include "test/support/builders.h"
#include "test/support/manual_clock.h"

namespace partage::scheduler {
namespace {

using test::Ask;
using test::Node;

struct Fixture {
  test::ManualClock clock;
  Cluster cluster{clock};
  Probe probe;
  std::unique_ptr<Engine> engine = Engine::Make(cluster, clock, {}, probe).value();

  void Add(const NodeObservation& node) {
    cluster.ObserveNode(node);
    cluster.Publish();
  }
};

TEST_CASE_METHOD(Fixture, "An idle block has everything free again, and the block it was made of stays as it is") {
  Add(Node("n").Gpus(2, 10000));
  cluster.ObservePod(test::Bound("p", {.node = "n", .containers = {{.name = "m", .shares = {{"n-gpu0", 10000, 100}}}}}));
  cluster.Publish();
  const auto snapshot = cluster.snapshot();
  const Block& busy = snapshot->block(0);
  const Block idle = Idle(busy);
  CHECK(busy.rows[0].used.mib == 10000);
  CHECK(idle.rows[0].used == PackedAmount());
  CHECK(idle.rows[0].open_devices == 2);
  CHECK(idle.flags[0] == 0);
  CHECK(busy.flags[0] == kHeldExclusively);
}

TEST_CASE_METHOD(Fixture, "What fits an idle node is not impossible, and what does not is told by the nearest node") {
  Add(Node("a").Gpus(1, 10000));
  Add(Node("b").Gpus(1, 20000));
  CHECK_FALSE(engine->WhyNever(Ask(1).Mib(20000)).has_value());
  CHECK(engine->WhyNever(Ask(1).Mib(20001)) == "CardInsufficientMemory: no GPU has 20001 MiB at all (largest is GPU 0 of b: 20000 MiB)");
}

TEST_CASE_METHOD(Fixture, "Too many puzzles are not called impossible") {
  for (int i = 0; i < 7; ++i) Add(Node("n" + std::to_string(i)).Gpus(1, 10000));
  const auto pair = Ask(1).Mib(6000).App(1).Mib(6000);
  CHECK(engine->WhyNever(pair).has_value());
  for (int i = 7; i < 12; ++i) Add(Node("n" + std::to_string(i)).Gpus(1, 10000));
  CHECK_FALSE(engine->WhyNever(pair).has_value());
}

}  // namespace
}  // namespace partage::scheduler
