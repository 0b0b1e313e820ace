// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/placement.h"

#include <functional>
#include <random>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "scheduler/engine/policy_set.h"
#include "test/support/builders.h"
#include "test/support/manual_clock.h"

namespace partage::scheduler {
namespace {

using test::Ask;
using test::Node;

/// One node, and what it answers to requests.
class OneNode {
 private:
  template <class Do>
  auto With(const device::PodRequest& request, Do&& call) const {
    const auto policies = PolicySet::Make("binpack", {"binpack"});
    const auto snapshot = cluster_.snapshot();
    const scheduler::Ask ask(request, policies->For(request), *snapshot->kinds);
    const NodeId id = snapshot->index->Find("n1");
    return call(snapshot->block(id), id % kBlockNodes, ask);
  }

 public:
  explicit OneNode(const NodeObservation& node) {
    cluster_.ObserveNode(node);
    cluster_.Publish();
  }
  void Use(const std::string& uuid, std::int32_t mib, std::int32_t cores) {
    cluster_.ObservePod(
        test::Bound("user" + std::to_string(users_++), {.node = "n1", .containers = {{.name = "m", .shares = {{uuid, mib, cores}}}}}));
    cluster_.Publish();
  }
  std::optional<device::Allocation> Place(const device::PodRequest& request) const {
    return With(request, [](const Block& block, std::uint32_t row, const scheduler::Ask& ask) { return PlaceOnNode(block, row, ask); });
  }
  Shortfall Explain(const device::PodRequest& request) const {
    return With(request, [](const Block& block, std::uint32_t row, const scheduler::Ask& ask) { return ExplainNode(block, row, ask); });
  }
  std::string Why(const device::PodRequest& request) const { return NearestText(Explain(request), "n1"); }
  bool MayFit(const device::PodRequest& request) const {
    return With(request,
                [](const Block& block, std::uint32_t row, const scheduler::Ask& ask) { return ask.MayFit(block, block.rows[row]); });
  }
  Cluster& cluster() { return cluster_; }

 private:
  test::ManualClock clock_;
  Cluster cluster_{clock_};
  int users_ = 0;
};

std::vector<std::string> Uuids(const device::Allocation& allocation, std::size_t container = 0) {
  std::vector<std::string> uuids;
  for (const auto& share : allocation.containers[container].shares) uuids.push_back(share.uuid);
  std::sort(uuids.begin(), uuids.end());
  return uuids;
}

TEST_CASE("A share fits to the last MiB and not one beyond, and the refusal says what is short") {
  OneNode node(Node("n1").Gpu(1000));
  node.Use("n1-gpu0", 400, 0);
  CHECK(node.Place(Ask(1).Mib(600)).has_value());
  CHECK_FALSE(node.Place(Ask(1).Mib(601)).has_value());
  CHECK(node.Why(Ask(1).Mib(601)) == "CardInsufficientMemory: no GPU has 601 MiB free (nearest is GPU 0 of n1: 600 MiB free, 1 short)");
  CHECK_FALSE(node.Explain(Ask(1).Mib(601)).unresolvable());
  CHECK(node.Explain(Ask(1).Mib(1001)).unresolvable());
}

TEST_CASE("A percentage is of each card's own memory") {
  OneNode node(Node("n1").Gpu(1000).Gpu(3001));
  const auto placed = node.Place(Ask(2).Percent(50));
  REQUIRE(placed.has_value());
  CHECK(placed->containers[0].shares[0].mib + placed->containers[0].shares[1].mib == 500 + 1500);
}

TEST_CASE("100 cores means the whole card, alone: before, while and whatever the scaling") {
  OneNode node(Node("n1").Gpu(1000, 150));
  CHECK(node.Place(Ask(1).Mib(10).Cores(100)).has_value());
  node.Use("n1-gpu0", 10, 0);
  CHECK(node.Explain(Ask(1).Mib(10).Cores(100)).reason == Reason::kHeldExclusively);
  OneNode held(Node("n1").Gpu(1000, 150));
  held.Use("n1-gpu0", 10, 100);
  CHECK(held.Explain(Ask(1).Mib(10).Cores(10)).reason == Reason::kHeldExclusively);
  CHECK(held.Explain(Ask(1).Mib(10)).reason == Reason::kHeldExclusively);
}

TEST_CASE("A request without cores is refused where all compute is given away") {
  OneNode node(Node("n1").Gpu(1000));
  node.Use("n1-gpu0", 10, 60);
  CHECK(node.Place(Ask(1).Mib(10)).has_value());
  node.Use("n1-gpu0", 10, 40);
  CHECK(node.Explain(Ask(1).Mib(10)).reason == Reason::kNoCoresLeft);
}

TEST_CASE("Slots bound the shares of a card") {
  OneNode node(Node("n1").Gpu(1000, 100, 2));
  node.Use("n1-gpu0", 1, 0);
  node.Use("n1-gpu0", 1, 0);
  CHECK(node.Explain(Ask(1).Mib(1)).reason == Reason::kSlots);
}

TEST_CASE("Several devices of one container are distinct cards") {
  OneNode node(Node("n1").Gpus(2, 1000));
  CHECK(Uuids(*node.Place(Ask(2).Mib(10))) == std::vector<std::string>{"n1-gpu0", "n1-gpu1"});
  CHECK(node.Explain(Ask(3).Mib(10)).reason == Reason::kTooFewDevices);
  node.Use("n1-gpu0", 995, 0);
  CHECK(node.Why(Ask(2).Mib(10)) == "AllocatedCardsInsufficientRequest: fewer than the 2 GPUs needed fit at once (nearest is n1: 1 of 2)");
}

TEST_CASE("An unhealthy, cordoned or MIG card takes nothing") {
  NodeObservation node = Node("n1").Gpu(1000);
  SECTION("unhealthy") {
    node.inventory.devices[0].healthy = false;
    CHECK(OneNode(node).Explain(Ask(1).Mib(1)).reason == Reason::kUnhealthy);
  }
  SECTION("cordoned") {
    node.inventory.devices[0].cordoned = true;
    CHECK(OneNode(node).Explain(Ask(1).Mib(1)).reason == Reason::kCordoned);
  }
  SECTION("MIG") {
    node.inventory.devices[0].mode = device::Mode::kMig;
    CHECK(OneNode(node).Explain(Ask(1).Mib(1)).reason == Reason::kMode);
  }
  CHECK_FALSE(OneNode(node).Place(Ask(1).Mib(1)).has_value());
}

TEST_CASE("UUIDs and types choose and exclude cards") {
  OneNode node(Node("n1").Gpu(1000).Model("NVIDIA A10").Gpu(1000).Model("NVIDIA L4").Gpu(1000).Model("Tesla T4"));
  Ask uuid(1), no_uuid(1), type(1), no_type(1), absent(1);
  uuid.Mib(1).constraints().use_uuids = {"n1-gpu2"};
  no_uuid.Mib(1).constraints().nouse_uuids = {"n1-gpu0", "n1-gpu1"};
  type.Mib(1).constraints().use_models = {"l4"};
  no_type.Mib(1).constraints().nouse_models = {"A10", "tesla"};
  absent.Mib(1).constraints().use_models = {"H100"};
  CHECK(Uuids(*node.Place(uuid)) == std::vector<std::string>{"n1-gpu2"});
  CHECK(Uuids(*node.Place(no_uuid)) == std::vector<std::string>{"n1-gpu2"});
  CHECK(Uuids(*node.Place(type)) == std::vector<std::string>{"n1-gpu1"});
  CHECK(Uuids(*node.Place(no_type)) == std::vector<std::string>{"n1-gpu1"});
  CHECK(node.Explain(absent).reason == Reason::kType);
}

TEST_CASE("NUMA binding keeps a container's cards on one NUMA node, whichever has room") {
  OneNode node(Node("n1").Gpu(1000).Numa(0).Gpu(1000).Numa(1).Gpu(1000).Numa(1));
  Ask pair(2);
  pair.Mib(600).constraints().numa_bind = true;
  CHECK(Uuids(*node.Place(pair)) == std::vector<std::string>{"n1-gpu1", "n1-gpu2"});
  node.Use("n1-gpu1", 500, 0);
  CHECK(node.Explain(pair).reason == Reason::kNuma);
}

TEST_CASE("Containers of one pod add up, a lone container's first choice gives way to the other's only choice") {
  OneNode node(Node("n1").Gpu(1000).Gpu(500));
  CHECK(node.Explain(Ask(1).Mib(600).App(1).Mib(600)).reason == Reason::kTogether);
  // Binpack would put the small one on the large, fuller card, the only one that takes the other.
  node.Use("n1-gpu0", 100, 0);
  const auto placed = node.Place(Ask(1).Mib(400).App(1).Mib(900));
  REQUIRE(placed.has_value());
  CHECK(Uuids(*placed, 0) == std::vector<std::string>{"n1-gpu1"});
  CHECK(Uuids(*placed, 1) == std::vector<std::string>{"n1-gpu0"});
}

TEST_CASE("An init container uses the room before the app does, a sidecar uses it all along") {
  OneNode node(Node("n1").Gpu(1000));
  CHECK(node.Place(Ask().Init(1).Mib(900).App(1).Mib(800)).has_value());
  CHECK_FALSE(node.Place(Ask().Sidecar(1).Mib(300).App(1).Mib(800)).has_value());
  CHECK_FALSE(node.Place(Ask().Sidecar(1).Mib(300).Init(1).Mib(800)).has_value());
  CHECK(node.Place(Ask().Init(1).Mib(800).Sidecar(1).Mib(300)).has_value());
}

// Every assignment of distinct cards to containers, checked by the sums alone.
bool ExistsLegal(const std::vector<int>& free_mib, const std::vector<std::pair<int, int>>& containers, std::size_t at,
                 std::vector<int> used) {
  if (at == containers.size()) return true;
  const auto [count, mib] = containers[at];
  const unsigned cards = static_cast<unsigned>(free_mib.size());
  for (unsigned mask = 0; mask < (1u << cards); ++mask) {
    if (__builtin_popcount(mask) != count) continue;
    auto next = used;
    bool legal = true;
    for (unsigned c = 0; c < cards; ++c) {
      if (mask & (1u << c)) legal &= (next[c] += mib) <= free_mib[c];
    }
    if (legal && ExistsLegal(free_mib, containers, at + 1, next)) return true;
  }
  return false;
}

TEST_CASE("A pod is placed exactly when some legal assignment exists") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
  for (int round = 0; round < 400; ++round) {
    Node node("n1");
    std::vector<int> free_mib;
    for (int c = 1 + below(4); c > 0; --c) node.Gpu(free_mib.emplace_back(10 + below(90)));
    Ask ask;
    std::vector<std::pair<int, int>> containers;
    for (int c = 1 + below(4); c > 0; --c) {
      const auto& [count, mib] = containers.emplace_back(1 + below(static_cast<int>(free_mib.size())), 5 + below(60));
      ask.App(count).Mib(mib);
    }
    const OneNode cluster(node);
    const bool placed = cluster.Place(ask).has_value();
    REQUIRE(placed == ExistsLegal(free_mib, containers, 0, std::vector<int>(free_mib.size())));
    if (placed) REQUIRE(cluster.MayFit(ask));
  }
}

}  // namespace
}  // namespace partage::scheduler
