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

json Explained(Rig& rig, std::string_view query, int status = 200) {
  const http::Response reply = ExplainReply(rig.engine(), query);
  CHECK(reply.status == status);
  return json::parse(reply.body);
}

TEST_CASE("A waiting pod is explained by group of nodes, nearest node and the change that would help") {
  Rig rig;
  rig.With(Node("n1").Gpus(1, 81920)).With(Node("n2").Gpus(1, 40960));
  const std::vector<std::string_view> candidates = {"n1", "n2"};
  REQUIRE(rig.engine().Filter(test::Input("huge", Ask(1).Mib(90000)), candidates).fitting.empty());
  const json explained = Explained(rig, "pod=default/huge");
  CHECK(explained["state"] == "waiting");
  CHECK(explained["request"][0]["memoryMiB"] == 90000);
  CHECK(explained["fits"]["nodes"] == 0);
  CHECK(explained["refused"][0]["nodes"] == 2);
  CHECK(explained["nearest"]["node"] == "n1");
  REQUIRE(explained["changes"].size() == 1);
  CHECK(explained["changes"][0] == json{{"what", "memoryMiB"}, {"container", "c0"}, {"from", 90000}, {"to", 81920}});
}

TEST_CASE("A placed pod is explained by its share and by the decision that led there") {
  Rig rig;
  rig.With(Node("n1").Gpus(1, 81920)).With(test::UnboundPod("a", 8000)).Filtered("a", Ask(1).Mib(8000), "n1");
  CHECK(Explained(rig, "pod=default/a")["state"] == "nominal");
  REQUIRE(rig.Bind("a", "n1"));
  const json explained = Explained(rig, "pod=default/a");
  CHECK(explained["state"] == "bound");
  CHECK(explained["node"] == "n1");
  CHECK(explained["devices"][0]["memoryMiB"] == 8000);
  CHECK(explained["decision"]["nodePolicy"] == "binpack");
  CHECK(explained["decision"]["candidates"] == 1);
}

TEST_CASE("A pod nobody knows, or no pod at all, is answered with what is wrong") {
  Rig rig;
  CHECK_THAT(Explained(rig, "pod=default/nobody", 404)["error"].get<std::string>(), Catch::Contains("default/nobody"));
  for (const char* query : {"", "pod=", "pod=x", "pod=/x", "pod=x/", "pod=a/b/c"}) {
    CHECK_THAT(Explained(rig, query, 400)["error"].get<std::string>(), Catch::Contains("NAMESPACE/NAME"));
  }
}

}  // namespace
}  // namespace partage::scheduler
