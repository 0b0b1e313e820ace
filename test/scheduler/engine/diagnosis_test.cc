// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/diagnosis.h"

#include <random>

#include <catch2/catch.hpp>

#include "scheduler/engine/engine.h"
#include "test/support/builders.h"
#include "test/support/manual_clock.h"

namespace partage::scheduler {
namespace {

using test::Ask;
using test::Input;
using test::Node;

struct Fixture {
  test::ManualClock clock;
  Cluster cluster{clock};
  Probe probe;
  std::unique_ptr<Engine> engine = std::move(*Engine::Make(cluster, clock, {}, probe));

  void Add(const NodeObservation& node) {
    cluster.ObserveNode(node);
    cluster.Publish();
  }
  void Use(const std::string& name, const std::string& node, std::int32_t mib, std::int32_t cores) {
    cluster.ObservePod(test::Bound(name, {.node = node, .containers = {{.name = "m", .shares = {{node + "-gpu0", mib, cores}}}}}));
    cluster.Publish();
  }
  Diagnosis Of(const Ask& ask) const { return engine->Diagnose(**Input("p", ask).request); }
};

const Change* Find(const Diagnosis& diagnosis, ChangeKind kind) {
  for (const Change& change : diagnosis.changes) {
    if (change.kind == kind) return &change;
  }
  return nullptr;
}

TEST_CASE_METHOD(Fixture, "A request that fits names the nodes and looks for no change") {
  Add(Node("n1").Gpu(1000));
  Add(Node("n2").Gpu(100));
  const auto diagnosis = Of(Ask(1).Mib(500));
  CHECK(diagnosis.fitting == 1);
  CHECK(diagnosis.named == std::vector<std::string>{"n1"});
  REQUIRE(diagnosis.groups.size() == 1);
  CHECK(diagnosis.groups[0].nodes == 1);
  CHECK(diagnosis.nearest_node.empty());
  CHECK(diagnosis.changes.empty());
}

TEST_CASE_METHOD(Fixture, "Refusing nodes are grouped, most first, and the nearest speaks with its arithmetic") {
  for (const char* name : {"n1", "n2", "n3"}) Add(Node(name).Gpu(1000));
  Use("a", "n1", 700, 0);
  Use("b", "n2", 400, 0);
  Use("c", "n3", 100, 100);
  const auto diagnosis = Of(Ask(1).Mib(800));
  CHECK(diagnosis.fitting == 0);
  REQUIRE(diagnosis.groups.size() == 2);
  CHECK(diagnosis.groups[0].nodes == 2);
  CHECK(diagnosis.nearest_node == "n2");
  CHECK_THAT(diagnosis.nearest_text, Catch::Contains("600 MiB free, 200 short"));
}

TEST_CASE_METHOD(Fixture, "The smallest change of each kind that helps is found, and none that does not") {
  Add(Node("n1").Gpu(1000));
  Use("a", "n1", 300, 60);
  const auto memory = Of(Ask(1).Mib(800).Cores(20));
  REQUIRE(memory.changes.size() == 1);
  CHECK(memory.changes[0].kind == ChangeKind::kMemoryMib);
  CHECK(memory.changes[0].from == 800);
  CHECK(memory.changes[0].to == 700);
  const auto cores = Of(Ask(1).Mib(100).Cores(50));
  REQUIRE(Find(cores, ChangeKind::kCores) != nullptr);
  CHECK(Find(cores, ChangeKind::kCores)->to == 40);
  CHECK(Find(cores, ChangeKind::kMemoryMib) == nullptr);
  CHECK(Of(Ask(1).Mib(800).Cores(50)).changes.empty());
  const auto count = Of(Ask(3).Mib(100));
  REQUIRE(Find(count, ChangeKind::kCount) != nullptr);
  CHECK(Find(count, ChangeKind::kCount)->to == 1);
}

TEST_CASE_METHOD(Fixture, "Constraints that alone stand in the way are named") {
  Add(Node("n1").Gpu(1000));
  auto request = **Input("p", Ask(1).Mib(100)).request;
  request.constraints.use_uuids = {"GPU-elsewhere"};
  const auto diagnosis = engine->Diagnose(request);
  REQUIRE(Find(diagnosis, ChangeKind::kConstraints) != nullptr);
  CHECK(diagnosis.changes.size() == 1);
}

TEST_CASE_METHOD(Fixture, "An empty cluster has nothing to say") {
  const auto diagnosis = Of(Ask(1).Mib(100));
  CHECK(diagnosis.fitting == 0);
  CHECK(diagnosis.groups.empty());
  CHECK(diagnosis.changes.empty());
}

TEST_CASE_METHOD(Fixture, "Whatever the cluster, a change that is advised lets the pod be placed, and one step less does not") {
  std::mt19937 random(GENERATE(range(1u, 9u)));
  const auto up_to = [&](int n) { return static_cast<std::int32_t>(random() % static_cast<unsigned>(n)); };
  for (int n = 0; n < 6; ++n) {
    const std::string name = "n" + std::to_string(n);
    Add(Node(name).Gpus(1 + up_to(3), 1000));
    for (int p = 0; p < 3; ++p) Use(name + "-" + std::to_string(p), name, up_to(330), up_to(33));
  }
  for (int round = 0; round < 20; ++round) {
    const Ask ask = Ask(1 + up_to(4)).Mib(1 + up_to(1200)).Cores(up_to(100));
    for (const Change& change : Of(ask).changes) {
      auto request = **Input("p", ask).request;
      auto& wanted = request.containers.at(0).devices.at(0);
      auto& number = change.kind == ChangeKind::kMemoryMib ? wanted.mib : change.kind == ChangeKind::kCores ? wanted.cores : wanted.count;
      number = static_cast<std::int32_t>(change.to);
      CHECK(engine->Diagnose(request).fitting > 0);
      if (++number == change.from) continue;
      CHECK(engine->Diagnose(request).fitting == 0);
    }
  }
}

}  // namespace
}  // namespace partage::scheduler
