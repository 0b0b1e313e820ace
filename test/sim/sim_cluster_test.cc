// SPDX-License-Identifier: Apache-2.0
#include "sim/sim_cluster.h"

#include <catch2/catch.hpp>

namespace partage::sim {
namespace {

/// Writes down what a sink is told: "+n1@3" for an upsert with its version, "-" for a removal, "[" and "]" around a full read, "." for a flush.
template <class T>
class Recorder final : public k8s::Sink<T> {
 public:
  void ReplaceBegin() override { told += "["; }
  void ReplaceEnd() override { told += "]"; }
  void Upsert(T&& object) override {
    told += "+" + object.name + "@" + std::to_string(object.resource_version);
    last = std::move(object);
  }
  void Remove(T&& object) override { told += "-" + object.name + "@" + std::to_string(object.resource_version); }
  void Undecodable(T&&, const Error&) override { told += "?"; }
  void Flush() override { told += "."; }

  std::string told;
  T last;
};

struct Fixture {
  Recorder<k8s::Node> nodes;
  Recorder<k8s::Pod> pods;
  SimCluster cluster{nodes, pods};
};

k8s::Binding Bind(const std::string& name, const std::string& uid) { return {"team", name, uid, "n1", {{"partage.dev/allocation", "{}"}}}; }

TEST_CASE("Loading is one full read of nodes, then one of pods") {
  Fixture sim;
  sim.cluster.Load(ParseSimSpec("nodes: [{name: n1}, {name: n2}]\npods: [{pod: a/p, node: n1}]", "c").value());
  CHECK(sim.nodes.told == "[+n1@1+n2@2]");
  CHECK(sim.pods.told == "[+p@3]");
}

TEST_CASE("A binding makes the pod known and is seen by the watch before the call returns") {
  Fixture sim;
  REQUIRE(sim.cluster.WriteBinding(Bind("p", "u1")).has_value());
  CHECK(sim.pods.told == "+p@1.");
  CHECK(sim.pods.last.node_name == "n1");
  CHECK(sim.pods.last.annotations.at("partage.dev/allocation") == "{}");
  CHECK(sim.cluster.GetPod("team", "p").value().uid == "u1");
}

TEST_CASE("A second binding of a pod is a conflict and changes nothing") {
  Fixture sim;
  REQUIRE(sim.cluster.WriteBinding(Bind("p", "u1")).has_value());
  const auto again = sim.cluster.WriteBinding(Bind("p", "u1"));
  REQUIRE_FALSE(again.has_value());
  CHECK(again.error().code == Code::kConflict);
  CHECK(again.error().message == "pod team/p is already assigned to node \"n1\"");
  const auto other = sim.cluster.WriteBinding(Bind("p", "u2"));
  REQUIRE_FALSE(other.has_value());
  CHECK(other.error().code == Code::kConflict);
  CHECK(other.error().message == "pod team/p has UID u1, not u2");
  CHECK(sim.pods.told == "+p@1.");
}

TEST_CASE("A deleted pod is gone, and its name can be used again") {
  Fixture sim;
  REQUIRE(sim.cluster.WriteBinding(Bind("p", "u1")).has_value());
  REQUIRE(sim.cluster.DeletePod("team", "p").has_value());
  CHECK(sim.pods.told == "+p@1.-p@2.");
  CHECK(sim.cluster.GetPod("team", "p").error().code == Code::kNotFound);
  CHECK(sim.cluster.DeletePod("team", "p").error().code == Code::kNotFound);
  CHECK(sim.cluster.WriteBinding(Bind("p", "u2")).has_value());
}

TEST_CASE("An annotated node is seen by the watch, with what it had") {
  Fixture sim;
  sim.cluster.Load(ParseSimSpec("nodes: [{name: n1, annotations: {a: b}}]", "c").value());
  REQUIRE(sim.cluster.AnnotateNode("n1", "x", "1").has_value());
  CHECK(sim.nodes.told == "[+n1@1]+n1@2.");
  CHECK(sim.nodes.last.annotations == k8s::StringMap{{"a", "b"}, {"x", "1"}});
  CHECK(sim.cluster.AnnotateNode("n2", "x", "1").error().code == Code::kNotFound);
}

TEST_CASE("Nodes come and go") {
  Fixture sim;
  sim.cluster.PutNode({"n1", "uid", 0, {}});
  REQUIRE(sim.cluster.RemoveNode("n1").has_value());
  CHECK(sim.nodes.told == "+n1@1.-n1@2.");
  CHECK(sim.cluster.RemoveNode("n1").error().code == Code::kNotFound);
}

}  // namespace
}  // namespace partage::sim
