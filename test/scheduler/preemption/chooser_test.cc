// SPDX-License-Identifier: Apache-2.0
#include "scheduler/preemption/chooser.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <set>

#include <catch2/catch.hpp>

#include "scheduler/engine/placement.h"
#include "test/scheduler/preemption/crowd.h"

namespace partage::scheduler {
namespace {

using test::Crowd;
using test::Node;
using Names = std::multiset<std::string>;
constexpr auto kAnyNumber = std::numeric_limits<std::size_t>::max();

/// Asks the chooser in the words of a test.
struct Asked {
  Asked(Crowd& crowd, const test::Ask& wanted)
      : crowd(crowd),
        request(wanted),
        snapshot(crowd.cluster().snapshot()),
        ask(request, crowd.engine().PoliciesFor(request), *snapshot->kinds) {}

  std::optional<Names> Victims(std::int32_t priority, const Names& spared = {}) {
    const auto nodes = crowd.nodes();
    const auto plan =
        ChoosePlan(crowd.cluster(), nodes, {ask, priority, [&](const PodUid& uid) { return spared.contains(crowd.NameOf(uid)); }});
    if (!plan) return std::nullopt;
    node = plan->node;
    Names victims;
    for (const auto& victim : plan->victims) victims.insert(crowd.NameOf(victim.uid));
    return victims;
  }

  Crowd& crowd;
  const device::PodRequest request;
  const std::shared_ptr<const Snapshot> snapshot;
  const Ask ask;
  std::string node;
};

TEST_CASE("The fewest pods are evicted, not the smallest") {
  Crowd crowd;
  crowd.With(Node("n1").Gpu(1000));
  REQUIRE(crowd.Bind("small-a", test::Ask(1).Mib(250), "n1", 1));
  REQUIRE(crowd.Bind("small-b", test::Ask(1).Mib(250), "n1", 1));
  REQUIRE(crowd.Bind("big", test::Ask(1).Mib(500), "n1", 2));
  CHECK(Asked(crowd, test::Ask(1).Mib(400)).Victims(10) == Names{"big"});
}

TEST_CASE("Of as many, the pods of lowest priority are evicted, and of those the youngest") {
  Crowd crowd;
  crowd.With(Node("n1").Gpu(1000)).With(Node("n2").Gpu(1000));
  REQUIRE(crowd.Bind("important", test::Ask(1).Mib(1000), "n1", 5, 300));
  REQUIRE(crowd.Bind("old", test::Ask(1).Mib(500), "n2", 3, 100));
  REQUIRE(crowd.Bind("young", test::Ask(1).Mib(500), "n2", 3, 200));
  CHECK(Asked(crowd, test::Ask(1).Mib(400)).Victims(10) == Names{"young"});
  CHECK(Asked(crowd, test::Ask(1).Mib(400)).Victims(10, {"young"}) == Names{"old"});
  CHECK(Asked(crowd, test::Ask(1).Mib(400)).Victims(10, {"young", "old"}) == Names{"important"});
  CHECK(Asked(crowd, test::Ask(1).Mib(600)).Victims(10) == Names{"important"});
}

TEST_CASE("Pods of equal or higher priority are never evicted") {
  Crowd crowd;
  crowd.With(Node("n1").Gpu(1000));
  REQUIRE(crowd.Bind("equal", test::Ask(1).Mib(500), "n1", 10));
  REQUIRE(crowd.Bind("higher", test::Ask(1).Mib(500), "n1", 11));
  CHECK_FALSE(Asked(crowd, test::Ask(1).Mib(400)).Victims(10));
  CHECK(Asked(crowd, test::Ask(1).Mib(400)).Victims(11) == Names{"equal"});
}

TEST_CASE("A pod that holds room on each of several GPUs is one victim") {
  Crowd crowd;
  crowd.With(Node("n1").Gpus(2, 1000));
  REQUIRE(crowd.Bind("both", test::Ask(2).Mib(400), "n1", 5));
  for (const auto* name : {"a", "b"}) REQUIRE(crowd.Bind(name, test::Ask(1).Mib(600), "n1", 1));
  CHECK(Asked(crowd, test::Ask(2).Mib(300)).Victims(10) == Names{"both"});
  CHECK(Asked(crowd, test::Ask(2).Mib(500)).Victims(10) == Names{"a", "b"});
}

TEST_CASE("A whole GPU is freed of everybody on it") {
  Crowd crowd;
  crowd.With(Node("n1").Gpus(2, 1000));
  for (int i = 0; i < 6; ++i) REQUIRE(crowd.Bind(fmt::format("p{}", i), test::Ask(1).Mib(300).Cores(20), "n1", 1));
  const auto victims = Asked(crowd, test::Ask(1).Mib(1000).Cores(100)).Victims(10);
  REQUIRE(victims);
  CHECK(victims->size() == 3);
}

TEST_CASE("Pods that are terminating count as gone, and are not evicted again") {
  Crowd crowd;
  crowd.With(Node("n1").Gpu(1000));
  REQUIRE(crowd.Bind("going", test::Ask(1).Mib(500), "n1", 1));
  REQUIRE(crowd.Bind("staying", test::Ask(1).Mib(500), "n1", 1));
  crowd.cluster().NoteEvicted(PodUid(test::Ref("going").uid));
  CHECK(Asked(crowd, test::Ask(1).Mib(400)).Victims(10) == Names{});
  CHECK(Asked(crowd, test::Ask(1).Mib(800)).Victims(10) == Names{"staying"});
}

TEST_CASE("Pods between filter and bind are left alone") {
  Crowd crowd;
  crowd.With(Node("n1").Gpu(1000));
  REQUIRE_FALSE(crowd.Filter("nominal", test::Ask(1).Mib(1000), 0).fitting.empty());
  CHECK_FALSE(Asked(crowd, test::Ask(1).Mib(400)).Victims(10));
}

TEST_CASE("Nobody is evicted from a node that is closed, or where the pod could never run") {
  Crowd crowd;
  crowd.With(Node("n1").Gpu(1000));
  REQUIRE(crowd.Bind("holder", test::Ask(1).Mib(1000), "n1", 1));
  CHECK_FALSE(Asked(crowd, test::Ask(1).Mib(1001)).Victims(10));
  CHECK_FALSE(Asked(crowd, test::Ask(2).Mib(100)).Victims(10));
  crowd.cluster().ObservePod({.pod = test::Ref("odd"), .node = "n1", .usage = {}, .allocation_error = "unreadable"});
  crowd.cluster().Publish();
  CHECK_FALSE(Asked(crowd, test::Ask(1).Mib(100)).Victims(10));
}

TEST_CASE("On a node of 80 unlike pods the choice takes few trials") {
  Crowd crowd;
  crowd.With(Node("n1").Gpus(8, 80000));
  for (int i = 0; i < 80; ++i) REQUIRE(crowd.Bind(fmt::format("p{}", i), test::Ask(1).Mib(7800 + i).Cores(10), "n1", i % 7));
  const auto victims = Asked(crowd, test::Ask(1).Mib(30000).Cores(30)).Victims(10);
  REQUIRE(victims);
  CHECK(victims->size() == 4);
  CHECK(Asked(crowd, test::Ask(2).Mib(30000).Cores(30)).Victims(10)->size() == 8);
}

int Below(std::mt19937& random, int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); }

test::Ask RandomAsk(std::mt19937& random, int most) {
  test::Ask ask;
  if (Below(random, 6) == 0) ask.Init(1).Mib(1 + Below(random, most));
  for (int c = Below(random, 4) == 0 ? 2 : 1; c > 0; --c) {
    ask.App(Below(random, 3) == 0 ? 2 : 1);
    if (Below(random, 4) == 0) {
      ask.Percent(10 + Below(random, 90));
    } else {
      ask.Mib(1 + Below(random, most));
    }
    ask.Cores(Below(random, 8) == 0 ? 100 : Below(random, 50));
  }
  static const std::vector<std::vector<std::string>> kChains = {{}, {"binpack"}, {"numa"}, {"mutex", "spread"}};
  ask.DevicePolicies(kChains[static_cast<std::size_t>(Below(random, 4))]);
  return ask;
}

void Crowded(Crowd& crowd, std::mt19937& random) {
  for (const auto* node : {"n1", "n2"}) {
    crowd.With(Node(node).Gpu(1000, 100, 4).Numa(0).Gpu(800, 100, 4).Numa(Below(random, 2)));
    int bound = 0;
    for (int p = 0; p < 40 && bound < 7; ++p) {
      bound += crowd.Bind(fmt::format("{}-{}", node, p), RandomAsk(random, 500), node, Below(random, 4),
                          static_cast<std::uint32_t>(Below(random, 5)));
    }
    crowd.cluster().ForgetPod(test::Ref(fmt::format("{}-0", node)));
  }
  crowd.cluster().Publish();
}

// What every set of victims of one node comes to, tried one by one: the costs of those that free the share.
struct Truth {
  std::size_t fewest = kAnyNumber;
  std::vector<std::int32_t> lowest;  // priorities of the best of the fewest, highest first
};

Truth BruteForce(const Cluster::Tenancy& tenancy, const Ask& ask, std::int32_t priority) {
  Truth truth;
  std::vector<const Cluster::Tenant*> eligible;
  for (const auto& tenant : tenancy.tenants) {
    if (tenant.priority < priority) eligible.push_back(&tenant);
  }
  for (std::uint32_t set = 0; set < 1U << eligible.size(); ++set) {
    const auto count = static_cast<std::size_t>(std::popcount(set));
    if (count > truth.fewest) continue;
    Block block = tenancy.block;
    std::vector<std::int32_t> priorities;
    for (std::uint32_t i = 0; i < eligible.size(); ++i) {
      if ((set >> i & 1U) == 0) continue;
      block.Apply(tenancy.row, eligible[i]->shares, -1);
      priorities.push_back(eligible[i]->priority);
    }
    std::sort(priorities.begin(), priorities.end(), std::greater<>());
    if (!PlaceOnNode(block, tenancy.row, ask)) continue;
    if (count < truth.fewest || priorities < truth.lowest) truth = {count, priorities};
  }
  return truth;
}

void CheckAgainstTruth(const Cluster::Tenancy& tenancy, const Ask& ask, std::int32_t priority) {
  const Truth truth = BruteForce(tenancy, ask, priority);
  const auto victims = ChooseVictims(tenancy, {ask, priority}, kAnyNumber);
  REQUIRE(victims.has_value() == (truth.fewest != kAnyNumber));
  if (!victims) return;
  REQUIRE(victims->size() == truth.fewest);
  Block block = tenancy.block;
  std::vector<std::int32_t> priorities;
  for (const std::uint32_t v : *victims) {
    REQUIRE(tenancy.tenants[v].priority < priority);
    priorities.push_back(tenancy.tenants[v].priority);
    block.Apply(tenancy.row, tenancy.tenants[v].shares, -1);
  }
  REQUIRE(PlaceOnNode(block, tenancy.row, ask));
  std::sort(priorities.begin(), priorities.end(), std::greater<>());
  REQUIRE(priorities == truth.lowest);
}

TEST_CASE("Whatever is wanted, the victims free it, are all of lower priority, and no smaller or lower set would do") {
  const unsigned base = std::random_device{}();
  for (unsigned round = 0; round < 40; ++round) {
    INFO("seed " << base + round);
    std::mt19937 random(base + round);
    Crowd crowd;
    Crowded(crowd, random);
    for (int wish = 0; wish < 6; ++wish) {
      Asked asked(crowd, RandomAsk(random, 1000));
      const std::int32_t priority = Below(random, 6);
      for (const auto node : crowd.nodes()) CheckAgainstTruth(*crowd.cluster().Inspect(node), asked.ask, priority);
    }
  }
}

TEST_CASE("Of several nodes, none has a better set of victims than the chosen one") {
  const unsigned base = std::random_device{}();
  for (unsigned round = 0; round < 40; ++round) {
    INFO("seed " << base + round);
    std::mt19937 random(base + round);
    Crowd crowd;
    Crowded(crowd, random);
    Asked asked(crowd, RandomAsk(random, 1000));
    const auto chosen = asked.Victims(3);
    std::size_t fewest = kAnyNumber;
    for (const auto node : crowd.nodes()) fewest = std::min(fewest, BruteForce(*crowd.cluster().Inspect(node), asked.ask, 3).fewest);
    REQUIRE((chosen ? chosen->size() : kAnyNumber) == fewest);
  }
}

}  // namespace
}  // namespace partage::scheduler
