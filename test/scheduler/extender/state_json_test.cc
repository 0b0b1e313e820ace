// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "scheduler/extender/extender.h"
#include "test/scheduler/extender/rig.h"

namespace partage::scheduler {
namespace {

using nlohmann::json;
using test::Ask;
using test::Node;
using test::Rig;

json State(Rig& rig, std::string_view query = "") { return json::parse(StateJson(rig.engine(), query)); }

void Fill(Rig& rig) {
  rig.With(Node("n2").Gpus(1, 81920)).With(Node("n1").Gpus(2, 81920).Hami());
  for (const std::string pod : {"b", "a"}) {
    rig.With(test::UnboundPod(pod, 8000)).Filtered(pod, Ask(1).Mib(8000).Cores(30), "n2");
    REQUIRE(rig.Bind(pod, "n2"));
  }
  rig.Filtered("c", Ask(1).Mib(1000), "n1");
  const std::vector<std::string_view> candidates = {"n1"};
  REQUIRE(rig.engine().Filter(test::Input("huge", Ask(1).Mib(90000)), candidates).fitting.empty());
}

TEST_CASE("The state shows nodes and pods in name order, with capacity and use") {
  Rig rig;
  Fill(rig);
  const json state = State(rig);
  REQUIRE(state["nodes"].size() == 2);
  CHECK(state["nodes"][0]["name"] == "n1");
  CHECK(state["nodes"][0]["inventory"] == "hami");
  const json& node = state["nodes"][1];
  CHECK(node["inventory"] == "partage");
  CHECK(node["devices"][0]["memoryMiB"] == json{{"total", 81920}, {"used", 16000}});
  CHECK(node["devices"][0]["cores"] == json{{"total", 100}, {"used", 60}});
  REQUIRE(node["pods"].size() == 2);
  CHECK(node["pods"][0]["name"] == "a");
  CHECK(node["pods"][0]["state"] == "bound");
  CHECK(node["pods"][1]["devices"][0] == json{{"uuid", "n2-gpu0"}, {"slots", 1}, {"memoryMiB", 8000}, {"cores", 30}, {"exclusive", false}});
  CHECK(state["nodes"][0]["pods"][0]["state"] == "nominal");
}

TEST_CASE("The state counts, and names who waits and why") {
  Rig rig;
  Fill(rig);
  const json state = State(rig);
  CHECK(state["counts"]["podsBound"] == 2);
  CHECK(state["counts"]["nominal"] == 1);
  REQUIRE(state["waiting"].size() == 1);
  CHECK(state["waiting"][0]["name"] == "huge");
  CHECK_THAT(state["waiting"][0]["reason"].get<std::string>(), Catch::Contains("90000"));
}

TEST_CASE("The state can be narrowed to a node, and to devices") {
  Rig rig;
  Fill(rig);
  const json one = State(rig, "node=n2");
  REQUIRE(one["nodes"].size() == 1);
  CHECK(one["nodes"][0]["name"] == "n2");
  CHECK(State(rig, "node=absent")["nodes"].empty());
  const json bare = State(rig, "pods=false");
  REQUIRE_FALSE(bare["nodes"].empty());
  for (const json& node : bare["nodes"]) CHECK_FALSE(node.contains("pods"));
}

TEST_CASE("A node nobody may use says why") {
  Rig rig;
  NodeObservation node = Node("n1").Gpus(1, 81920);
  rig.With(node);
  node.inventory_error = "not \xff JSON";
  rig.With(node);
  CHECK_THAT(State(rig)["nodes"][0]["quarantine"].get<std::string>(), Catch::Contains("cannot be read"));
}

TEST_CASE("A node that publishes no devices is listed without any, before and after it is asked about") {
  Rig rig;
  NodeObservation bare;
  bare.name = "cpu-only";
  bare.uid = "u";
  rig.With(bare).With(Node("n1").Gpus(1, 81920));
  const json state = State(rig);
  REQUIRE(state["nodes"].size() == 2);
  CHECK(state["nodes"][0]["name"] == "cpu-only");
  CHECK(state["nodes"][0]["devices"].empty());
  const std::vector<std::string_view> candidates = {"cpu-only"};
  const auto refused = rig.engine().Filter(test::Input("a", Ask(1).Mib(1000)), candidates);
  REQUIRE(refused.fitting.empty());
  CHECK_THAT(refused.texts.back(), Catch::Contains("cpu-only"));
  CHECK(rig.engine().cluster().CheckInvariants().has_value());
}

TEST_CASE("An empty cluster has an empty state") {
  Rig rig;
  CHECK(State(rig)["nodes"] == json::array());
  CHECK(State(rig)["waiting"] == json::array());
}

}  // namespace
}  // namespace partage::scheduler
