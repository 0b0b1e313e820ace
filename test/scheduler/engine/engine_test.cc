// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/engine.h"

#include <catch2/catch.hpp>

#include "test/support/builders.h"
#include "test/support/manual_clock.h"

namespace partage::scheduler {
namespace {

using namespace std::chrono_literals;
using test::Ask;
using test::Input;
using test::Node;
using test::Ref;

struct Fixture {
  test::ManualClock clock;
  Cluster cluster{clock};
  Probe probe;
  std::unique_ptr<Engine> engine = std::move(*Engine::Make(cluster, clock, {}, probe));
  std::vector<std::string_view> names;

  void Add(const NodeObservation& node) {
    cluster.ObserveNode(node);
    cluster.Publish();
  }
  void Use(const std::string& name, const std::string& node, const std::string& uuid, std::int32_t mib) {
    cluster.ObservePod(test::Bound(name, {.node = node, .containers = {{.name = "m", .shares = {{uuid, mib, 0}}}}}));
    cluster.Publish();
  }
  FilterOutcome Filter(const PodInput& pod, std::vector<std::string_view> candidates) { return engine->Filter(pod, candidates); }
  void Bind(const std::string& name, std::string_view node) {
    auto reservation = engine->Reserve(Ref(name), node);
    REQUIRE(reservation.has_value());
    reservation->Commit();
  }
  std::string TextOf(const FilterOutcome& outcome, std::size_t refusal) { return outcome.texts[outcome.refusals[refusal].text]; }
};

TEST_CASE_METHOD(Fixture, "Binpack takes the fullest node that fits, spread the emptiest, ties go by name") {
  for (const char* name : {"n3", "n1", "n2"}) Add(Node(name).Gpu(1000));
  CHECK(Filter(Input("a", Ask(1).Mib(100)), {"n3", "n2", "n1"}).fitting_names == std::vector<std::string_view>{"n1"});
  Use("x", "n2", "n2-gpu0", 500);
  CHECK(Filter(Input("b", Ask(1).Mib(100)), {"n3", "n2", "n1"}).fitting_names == std::vector<std::string_view>{"n2"});
  CHECK(Filter(Input("c", Ask(1).Mib(600)), {"n3", "n2", "n1"}).fitting_names == std::vector<std::string_view>{"n1"});
  CHECK(Filter(Input("d", Ask(1).Mib(100).NodePolicy("spread")), {"n3", "n2", "n1"}).fitting_names == std::vector<std::string_view>{"n3"});
}

TEST_CASE_METHOD(Fixture,
                 "The room of a filter's answer is kept from the next filter until bind, the next filter of the pod, or time-out") {
  Add(Node("n1").Gpu(1000));
  Add(Node("n2").Gpu(1000));
  CHECK(Filter(Input("a", Ask(1).Mib(800)), {"n1", "n2"}).fitting_names == std::vector<std::string_view>{"n1"});
  CHECK(Filter(Input("b", Ask(1).Mib(800)), {"n1", "n2"}).fitting_names == std::vector<std::string_view>{"n2"});
  CHECK(Filter(Input("c", Ask(1).Mib(800)), {"n1", "n2"}).fitting_names.empty());
  CHECK(Filter(Input("a", Ask(1).Mib(800)), {"n1"}).fitting_names == std::vector<std::string_view>{"n1"});
  clock.Advance(16s);
  cluster.ExpireNominals();
  CHECK(Filter(Input("c", Ask(1).Mib(800)), {"n2"}).fitting_names == std::vector<std::string_view>{"n2"});
}

TEST_CASE_METHOD(Fixture, "A pod with soft preferences gets a list, best first, others get one node") {
  for (const char* name : {"n1", "n2", "n3"}) Add(Node(name).Gpu(1000));
  Use("x", "n3", "n3-gpu0", 10);
  auto soft = Input("a", Ask(1).Mib(100));
  soft.has_soft_preferences = true;
  CHECK(Filter(soft, {"n1", "n2", "n3"}).fitting_names == std::vector<std::string_view>{"n3", "n1", "n2"});
  CHECK(cluster.NominalNode(Ref("a")) == "n3");
}

TEST_CASE_METHOD(Fixture, "Refusals are grouped by equal text, only the nearest node speaks of itself, unresolvable ones are marked") {
  Add(Node("n1").Gpu(1000));
  Add(Node("n2").Gpu(1000));
  Add(Node("n3").Gpu(500));
  Add(Node("n4"));
  Use("x", "n1", "n1-gpu0", 900);
  Use("y", "n2", "n2-gpu0", 300);
  const auto outcome = Filter(Input("a", Ask(1).Mib(800)), {"n1", "n2", "n3", "n4", "n5"});
  REQUIRE(outcome.refusals.size() == 5);
  CHECK(TextOf(outcome, 0) == "CardInsufficientMemory: no GPU has 800 MiB free");
  CHECK(TextOf(outcome, 1) == "CardInsufficientMemory: no GPU has 800 MiB free (nearest is GPU 0 of n2: 700 MiB free, 100 short)");
  CHECK(TextOf(outcome, 2) == "CardInsufficientMemory: no GPU has 800 MiB at all");
  CHECK(TextOf(outcome, 3) == "NodeInsufficientDevice: node publishes no GPUs");
  CHECK(TextOf(outcome, 4) == "NodeUnfitPod: node is not known to Partage");
  CHECK_FALSE(outcome.refusals[1].unresolvable);
  CHECK(outcome.refusals[2].unresolvable);
  CHECK(outcome.refusals[4].unresolvable);
}

TEST_CASE_METHOD(Fixture, "A waiting pod is told the same while its nearest node's reason stays, though shares move") {
  Add(Node("n1").Gpu(1000));
  Add(Node("n2").Gpu(1000));
  Use("x", "n1", "n1-gpu0", 900);
  Use("y", "n2", "n2-gpu0", 300);
  const auto first = Filter(Input("a", Ask(1).Mib(800)), {"n1", "n2"});
  Use("z", "n2", "n2-gpu0", 100);
  const auto second = Filter(Input("a", Ask(1).Mib(800)), {"n1", "n2"});
  CHECK(TextOf(first, 1) == TextOf(second, 1));
  CHECK(TextOf(first, 0) == TextOf(second, 0));
  clock.Advance(61s);
  CHECK(TextOf(Filter(Input("a", Ask(1).Mib(800)), {"n1", "n2"}), 1) != TextOf(first, 1));
}

TEST_CASE_METHOD(Fixture, "A wrong request is refused on every node in the user's words, for good") {
  Add(Node("n1").Gpu(1000));
  PodInput pod{.pod = Ref("a"), .request = Fail(Code::kInvalid, "gpumem \"16Gi\" is not a number of MiB"), .has_soft_preferences = false};
  const auto outcome = Filter(pod, {"n1", "n2"});
  REQUIRE(outcome.refusals.size() == 2);
  CHECK(TextOf(outcome, 1) == "pod default/a: gpumem \"16Gi\" is not a number of MiB");
  CHECK(outcome.refusals[0].unresolvable);
  CHECK(engine->waiting_count() == 0);
}

TEST_CASE_METHOD(Fixture, "Bind takes the devices of the filter's answer") {
  Add(Node("n1").Gpus(2, 1000));
  Filter(Input("a", Ask(1).Mib(100)), {"n1"});
  const auto nominal = cluster.snapshot();
  Bind("a", "n1");
  CHECK(cluster.snapshot()->row(0).used == nominal->row(0).used);
  CHECK(cluster.counts().pods_bound == 1);
}

TEST_CASE_METHOD(Fixture, "Bind on another node than nominated reserves there and frees the first") {
  Add(Node("n1").Gpu(1000));
  Add(Node("n2").Gpu(1000));
  Filter(Input("a", Ask(1).Mib(100)), {"n1"});
  Bind("a", "n2");
  const auto snapshot = cluster.snapshot();
  CHECK(snapshot->row(snapshot->index->Find("n1")).used.mib == 0);
  CHECK(snapshot->row(snapshot->index->Find("n2")).used.mib == 100);
}

TEST_CASE_METHOD(Fixture, "Bind of a pod never filtered says that the request is missing, and works with it") {
  Add(Node("n1").Gpu(1000));
  const auto missing = engine->Reserve(Ref("a"), "n1");
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().code == Code::kNotFound);
  CHECK(engine->Reserve(Ref("a"), "n1", Ask(1).Mib(100)).has_value());
}

TEST_CASE_METHOD(Fixture, "Bind where it no longer fits is refused with the arithmetic and changes nothing") {
  Add(Node("n1").Gpu(1000));
  const auto refused = engine->Reserve(Ref("a"), "n1", Ask(1).Mib(1100));
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Code::kConflict);
  CHECK(refused.error().message == "no longer fits: CardInsufficientMemory: no GPU has 1100 MiB at all (largest is GPU 0 of n1: 1000 MiB)");
  CHECK(cluster.counts().reserved == 0);
}

TEST_CASE_METHOD(Fixture, "While a bind is unanswered the pod is refused everywhere, and not waiting for room") {
  Add(Node("n1").Gpu(1000));
  auto reservation = engine->Reserve(Ref("a"), "n1", Ask(1).Mib(100));
  REQUIRE(reservation.has_value());
  const auto outcome = Filter(Input("a", Ask(1).Mib(100)), {"n1"});
  CHECK(outcome.fitting.empty());
  CHECK(TextOf(outcome, 0) == "an earlier bind of this pod to n1 has not been answered yet");
}

TEST_CASE_METHOD(Fixture, "Prioritize scores fitting nodes from 0 to 10 by policy and moves the nominal share to the best") {
  for (const char* name : {"n1", "n2", "n3", "n4"}) Add(Node(name).Gpu(1000));
  Use("x", "n2", "n2-gpu0", 400);
  Use("y", "n3", "n3-gpu0", 200);
  Use("z", "n4", "n4-gpu0", 950);
  const std::vector<std::string_view> candidates{"n1", "n2", "n3", "n4", "n5"};
  const auto points = engine->Prioritize(Input("a", Ask(1).Mib(100)), candidates);
  CHECK(points == std::vector<int>{0, 10, 6, 0, 0});
  CHECK(cluster.NominalNode(Ref("a")) == "n2");
}

TEST_CASE_METHOD(Fixture, "A waiting pod names the freed node that would take it") {
  Add(Node("n1").Gpu(1000));
  Add(Node("n2").Gpu(400));
  Use("x", "n1", "n1-gpu0", 900);
  Use("y", "n2", "n2-gpu0", 100);
  Filter(Input("a", Ask(1).Mib(800)), {"n1", "n2"});
  CHECK(engine->waiting_count() == 1);
  cluster.TakeFreedNodes();
  cluster.ForgetPod(Ref("y"));
  cluster.Publish();
  CHECK_FALSE(engine->NodeWorthRetrying(cluster.TakeFreedNodes()).has_value());
  cluster.ForgetPod(Ref("x"));
  cluster.Publish();
  CHECK(engine->NodeWorthRetrying(cluster.TakeFreedNodes()) == "n1");
  engine->Forget(Ref("a").uid);
  CHECK(engine->waiting_count() == 0);
}

TEST_CASE_METHOD(
    Fixture,
    "A pod over its namespace's quota is refused on every node in words that stay the same, and worth a retry once there is room") {
  Add(Node("n1").Gpu(100000));
  Add(Node("n2").Gpu(100000));
  const auto limit = [](std::int64_t mib) {
    return QuotaObservation{.ns = "default",
                            .name = "q",
                            .limits = {{"limits.nvidia.com/gpumem", "nvidia", QuotaLimit::Of::kMemory, mib}},
                            .scopes = {},
                            .error = ""};
  };
  cluster.ObserveQuota(limit(1000));
  REQUIRE(Filter(Input("a", Ask(1).Mib(300)), {"n1", "n2"}).fitting_names.size() == 1);
  const auto first = Filter(Input("b", Ask(1).Mib(800)), {"n1", "n2"});
  REQUIRE(first.refusals.size() == 2);
  CHECK(first.refusals[0].unresolvable);
  CHECK(TextOf(first, 0) ==
        "ResourceQuotaNotFit: ResourceQuota default/q: of the 1000 MiB that limits.nvidia.com/gpumem allows too little is left for 800");
  REQUIRE(Filter(Input("c", Ask(1).Mib(100)), {"n1", "n2"}).fitting_names.size() == 1);
  CHECK(TextOf(Filter(Input("b", Ask(1).Mib(800)), {"n1"}), 0) == TextOf(first, 0));
  // Half of a card is known only with the card.
  CHECK_THAT(TextOf(Filter(Input("d", Ask(1).Percent(50)), {"n1"}), 0), Catch::Contains("this pod alone asks for 50000"));
  CHECK(engine->waiting_count() == 2);
  CHECK_FALSE(engine->NodeForQuotaWaiter());
  CHECK_FALSE(engine->NodeWorthRetrying({"n1", "n2"}));
  cluster.DropNominal(Ref("a"));
  cluster.Publish();
  CHECK(cluster.TakeFreedQuota());
  CHECK(engine->NodeForQuotaWaiter() == "n1");
  CHECK(engine->NodeWorthRetrying({"n2"}) == "n2");
}

TEST_CASE("A default policy that does not exist, or is of the other kind, is refused by name") {
  const test::ManualClock clock;
  Cluster cluster(clock);
  Probe probe;
  const auto unknown = Engine::Make(cluster, clock, {.node_policy = "fullest"}, probe);
  REQUIRE_FALSE(unknown.has_value());
  CHECK(unknown.error().message.find("node policy \"fullest\" does not exist; known: binpack") == 0);
  CHECK_FALSE(Engine::Make(cluster, clock, {.node_policy = "numa"}, probe).has_value());
}

TEST_CASE("A shortlist is auto or a positive number") {
  CHECK(Shortlist::Parse("auto")->automatic);
  CHECK(Shortlist::Parse("5")->k == 5);
  for (const char* wrong : {"", "0", "-1", "5x", "Auto"}) CHECK_FALSE(Shortlist::Parse(wrong).has_value());
}

}  // namespace
}  // namespace partage::scheduler
