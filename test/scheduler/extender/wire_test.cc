// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/wire.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "base/text_file.h"
#include "test/scheduler/extender/padded_body.h"
#include "test/support/damage.h"

namespace partage::scheduler {
namespace {

using nlohmann::json;
using test::PaddedBody;

ExtenderArgs ByName(std::vector<std::string_view> names) {
  ExtenderArgs args;
  args.names = std::move(names);
  return args;
}

ExtenderArgs ByNode(std::vector<std::string_view> names, std::vector<std::string_view> nodes) {
  ExtenderArgs args = ByName(std::move(names));
  args.whole_nodes = true;
  args.nodes = std::move(nodes);
  return args;
}

FilterOutcome Fitting(std::vector<std::string_view> names) {
  FilterOutcome outcome;
  outcome.fitting_names = std::move(names);
  return outcome;
}

TEST_CASE("A filter that found nodes answers with their names, best first") {
  CHECK(EncodeFilterResult(ByName({"a", "b", "c"}), Fitting({"c", "a"})) ==
        R"({"Nodes":null,"NodeNames":["c","a"],"FailedNodes":{},"FailedAndUnresolvableNodes":{},"Error":""})");
}

TEST_CASE("A filter that found none answers with an empty list and every refusal") {
  FilterOutcome outcome;
  outcome.texts = {"GPU 0 short 5 MiB", "no \"GPU\" node"};
  outcome.refusals = {{"a", 0, false}, {"b", 1, true}, {"c", 0, false}};
  CHECK(EncodeFilterResult(ByName({"a", "b", "c"}), outcome) ==
        R"({"Nodes":null,"NodeNames":[],"FailedNodes":{"a":"GPU 0 short 5 MiB","c":"GPU 0 short 5 MiB"},)"
        R"("FailedAndUnresolvableNodes":{"b":"no \"GPU\" node"},"Error":""})");
}

TEST_CASE("Whole nodes are answered with the very text that came") {
  const std::string_view a = R"({"metadata":{"name":"a"},  "x":1})", b = R"({"metadata":{"name":"b"}})";
  CHECK(EncodeFilterResult(ByNode({"a", "b"}, {a, b}), Fitting({"b", "a"})) ==
        R"({"Nodes":{"metadata":{},"items":[{"metadata":{"name":"b"}},{"metadata":{"name":"a"},  "x":1}]},"NodeNames":null,)"
        R"("FailedNodes":{},"FailedAndUnresolvableNodes":{},"Error":""})");
  CHECK(json::parse(EncodeFilterResult(ByNode({"a"}, {a}), Fitting({})))["Nodes"]["items"].empty());
}

TEST_CASE("A pod that is not ours gets all its candidates back, in the form they came in") {
  CHECK(json::parse(EncodeAllPass(ByName({"a", "b"})))["NodeNames"] == json({"a", "b"}));
  CHECK(json::parse(EncodeAllPass(ByName({})))["NodeNames"] == json::array());
  const json nodes = json::parse(EncodeAllPass(ByNode({"a"}, {R"({"metadata":{"name":"a"}})"})));
  CHECK(nodes["Nodes"]["items"][0]["metadata"]["name"] == "a");
  CHECK(nodes["NodeNames"].is_null());
}

TEST_CASE("A text for kube-scheduler holds nothing that its event would take for a format") {
  CHECK(json::parse(EncodeFilterError("policy \"50%s\""))["Error"] == "policy \"50\uFF05s\"");
}

TEST_CASE("Errors, scores and bind results have kube-scheduler's members") {
  CHECK(EncodeFilterError("not \"ready\"") ==
        R"({"Nodes":null,"NodeNames":null,"FailedNodes":{},"FailedAndUnresolvableNodes":{},"Error":"not \"ready\""})");
  const std::vector<std::string_view> names = {"a", "b"};
  const std::vector<int> scores = {10, 0};
  CHECK(EncodePriorities(names, scores) == R"([{"Host":"a","Score":10},{"Host":"b","Score":0}])");
  CHECK(EncodePriorities({}, {}) == "[]");
  CHECK(EncodeBindResult("") == R"({"Error":""})");
  CHECK(EncodeBindResult("409\n") == R"({"Error":"409\u000a"})");
  CHECK(EncodeMalformed("Pod: missing") == R"({"error":"Pod: missing"})");
}

TEST_CASE("Hostile names and texts keep a reply valid JSON") {
  FilterOutcome outcome;
  outcome.texts = {"tab\t and \xff and \\"};
  const std::string_view name = "\",\"Error\":\"x";
  outcome.refusals = {{name, 0, false}};
  const json reply = json::parse(EncodeFilterResult(ByName({name}), outcome));
  CHECK(reply["Error"] == "");
  CHECK(reply["FailedNodes"].contains(name));
}

Result<BindArgs> DecodeBind(std::string_view text) {
  const PaddedBody body(text);
  return DecodeBindArgs(body);
}

TEST_CASE("A bind body from kube-scheduler decodes") {
  const auto args = DecodeBind(ReadTextFile(PARTAGE_SOURCE_DIR "/test/scheduler/extender/golden/bind.json").value());
  REQUIRE(args);
  CHECK(args->pod.FullName() == "team-a/train-7c9d8b6f4-x2k9p");
  CHECK(args->pod.uid == "6f1b0c5e-8a5b-4f0e-9d0b-0f3a2f0e1c11");
  CHECK(args->node == "gpu-1");
}

TEST_CASE("A bind body that misses something names it") {
  const auto fault = [](std::string_view text) { return DecodeBind(text).error().message; };
  CHECK_THAT(fault(R"({"PodName":"p","PodNamespace":"ns","PodUID":"u"})"), Catch::Contains("Node: missing"));
  CHECK_THAT(fault(R"({"PodName":"","PodNamespace":"ns","PodUID":"u","Node":"n"})"), Catch::Contains("PodName: missing"));
  CHECK_THAT(fault(R"({"PodName":1,"PodNamespace":"ns","PodUID":"u","Node":"n"})"), Catch::Contains("PodName: "));
  CHECK_THAT(fault(R"({"PodUID":"u","PodUID":"v"})"), Catch::Contains("PodUID: given twice"));
  CHECK_THAT(fault(R"({"PodName":"p","PodNamespace":"ns","PodUID":"u","Node":"n"}{})"), Catch::Contains("more text after the object"));
  CHECK_THAT(fault("[1]"), Catch::Contains("not a JSON object"));
}

TEST_CASE("Damaged bind bodies never decode to something incomplete") {
  const std::string text = R"({"PodName":"p","PodNamespace":"ns","PodUID":"u","Node":"n"})";
  test::ForEachDamaged(text, 20000, [&](const std::string& damaged) {
    const auto args = DecodeBind(damaged);
    if (args && (args->pod.name.empty() || args->pod.ns.empty() || args->pod.uid.empty() || args->node.empty())) FAIL(damaged);
    if (args && damaged.size() < text.size()) FAIL("decoded although truncated: " << damaged);
  });
}

}  // namespace
}  // namespace partage::scheduler
