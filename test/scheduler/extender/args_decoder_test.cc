// SPDX-License-Identifier: Apache-2.0
#include <random>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "base/text_file.h"
#include "scheduler/extender/wire.h"
#include "test/scheduler/extender/padded_body.h"
#include "test/support/damage.h"

namespace partage::scheduler {
namespace {

using test::PaddedBody;

std::string Golden(const std::string& name) { return ReadTextFile(PARTAGE_SOURCE_DIR "/test/scheduler/extender/golden/" + name).value(); }

constexpr std::string_view kPod = R"({"metadata":{"name":"p","namespace":"ns","uid":"u"}})";

std::string Args(std::string_view candidates, std::string_view pod = kPod) { return fmt::format(R"({{"Pod":{},{}}})", pod, candidates); }

std::shared_ptr<const NodeIndex> Index() {
  return std::make_shared<NodeIndex>(std::vector<std::pair<std::string, NodeId>>{{"gpu-1", 5}, {"gpu-2", 2}, {"a", 0}, {"b", 1}}, 6);
}

/// One decoder with an index and one without, which must say the same of every body.
class BothWays {
 public:
  Result<const ExtenderArgs*> Decode(const PaddedBody& body) {
    const auto plain = plain_.Decode(body);
    const auto indexed = indexed_.Decode(body, index_);
    if (plain.has_value() != indexed.has_value()) FAIL("only one of the two decodes: " << (plain ? indexed : plain).error().message);
    if (!plain) {
      if (plain.error().message != indexed.error().message) FAIL("\"" << plain.error().message << "\" and \"" << indexed.error().message);
      return plain;
    }
    Compare(**plain, **indexed);
    return plain;
  }

  int looked_up() const { return looked_up_; }

 private:
  void Compare(const ExtenderArgs& plain, const ExtenderArgs& indexed) {
    const bool same = plain.names == indexed.names && plain.nodes == indexed.nodes && plain.whole_nodes == indexed.whole_nodes &&
                      plain.pod.uid == indexed.pod.uid && plain.pod.annotations == indexed.pod.annotations;
    if (!same) FAIL("the two decode differently");
    if (indexed.index == nullptr) return;
    ++looked_up_;
    if (indexed.ids != index_->FindAll(indexed.names)) FAIL("wrong ids");
  }

  ArgsDecoder plain_, indexed_;
  std::shared_ptr<const NodeIndex> index_ = Index();
  int looked_up_ = 0;
};

// What is wrong with a body; empty when it decodes.
std::string FaultOf(std::string_view text) {
  const PaddedBody body(text);
  BothWays decoder;
  const auto args = decoder.Decode(body);
  if (args) return "";
  CHECK(args.error().code == Code::kInvalid);
  return args.error().message;
}

TEST_CASE("A body from kube-scheduler with names decodes") {
  const PaddedBody body(Golden("args_names.json"));
  ArgsDecoder decoder;
  const auto decoded = decoder.Decode(body);
  REQUIRE(decoded);
  const ExtenderArgs& args = **decoded;
  CHECK(args.pod.FullName() == "team-a/train-7c9d8b6f4-x2k9p");
  CHECK(args.pod.uid == "6f1b0c5e-8a5b-4f0e-9d0b-0f3a2f0e1c11");
  CHECK(args.pod.annotations.at("note") == "a \"quoted\" word, ümlaut \\ and \u2028");
  CHECK(args.pod.containers.at(0).limits.at("nvidia.com/gpumem") == "8000");
  CHECK_FALSE(args.whole_nodes);
  CHECK(args.names == std::vector<std::string_view>{"gpu-1", "gpu-2", "ip-10-0-3-17.eu-central-1.compute.internal"});
}

TEST_CASE("A body with whole nodes keeps each node's text beside its name") {
  const std::string text = Golden("args_nodes.json");
  const PaddedBody body(text);
  ArgsDecoder decoder;
  const auto decoded = decoder.Decode(body);
  REQUIRE(decoded);
  const ExtenderArgs& args = **decoded;
  CHECK(args.whole_nodes);
  CHECK(args.names == std::vector<std::string_view>{"gpu-1", "gpu-2"});
  const auto items = nlohmann::json::parse(text)["Nodes"]["items"];
  REQUIRE(args.nodes.size() == 2);
  CHECK(nlohmann::json::parse(args.nodes[0]) == items[0]);
  CHECK(nlohmann::json::parse(args.nodes[1]) == items[1]);
}

TEST_CASE("A decoder forgets one body when it reads the next") {
  ArgsDecoder decoder;
  const PaddedBody whole(Golden("args_nodes.json"));
  REQUIRE(decoder.Decode(whole));
  const PaddedBody bad("{");
  REQUIRE_FALSE(decoder.Decode(bad));
  const PaddedBody names(Args(R"("NodeNames":["a"])"));
  const auto args = decoder.Decode(names);
  REQUIRE(args);
  CHECK((*args)->names == std::vector<std::string_view>{"a"});
  CHECK((*args)->nodes.empty());
  CHECK_FALSE((*args)->whole_nodes);
  const PaddedBody no_pod(R"({"NodeNames":["a"]})");
  CHECK_FALSE(decoder.Decode(no_pod));
}

TEST_CASE("Names as Go writes them are looked up on the way, other spellings are not") {
  const auto looked_up = [](std::string_view text) {
    const PaddedBody body(text);
    BothWays decoder;
    REQUIRE(decoder.Decode(body));
    return decoder.looked_up();
  };
  CHECK(looked_up(Golden("args_names.json")) == 1);
  CHECK(looked_up(Args(R"("Nodes":null,"NodeNames":["gpu-2","gpu-1","other"])")) == 1);
  CHECK(looked_up(Args(R"("NodeNames":[])")) == 1);
  CHECK(looked_up(Args(R"("NodeNames":["gpu-1", "gpu-2"])")) == 0);
  CHECK(looked_up(Args(R"("NodeNames":["gpu-1"],"Nodes":null)")) == 0);
  CHECK(looked_up(R"({"NodeNames":["a"],"Pod":{"metadata":{"name":"p","uid":"u"}}})") == 0);
  CHECK(looked_up(Args(R"("NodeNames":["a"])", R"({"metadata":{"name":"p","uid":"u"},"x":1,"NodeNames":["b"]})")) == 0);
}

TEST_CASE("A decoder survives a body far larger than what it keeps memory for") {
  ArgsDecoder decoder;
  const std::string padding(6u << 20, 'x');
  const PaddedBody large(Args(fmt::format(R"("Unknown":"{}","NodeNames":["a"])", padding)));
  REQUIRE(decoder.Decode(large));
  const PaddedBody small(Args(R"("NodeNames":["b"])"));
  const auto args = decoder.Decode(small);
  REQUIRE(args);
  CHECK((*args)->names == std::vector<std::string_view>{"b"});
}

TEST_CASE("Members come in any order and, as in Go, in any case, unknown ones are skipped") {
  CHECK(FaultOf(R"({"NodeNames":["a"],"Nodes":null,"Pod":{"metadata":{"name":"p","uid":"u"}}})").empty());
  CHECK(FaultOf(R"( { "nodenames" : [ "a" ] , "POD" : {"metadata":{"name":"p","uid":"u"}} } )").empty());
  CHECK(FaultOf(Args(R"("More":{"deep":[[{"x":[1,2,{}]}]]},"NodeNames":["a"],"Last":1.5e3)")).empty());
}

TEST_CASE("Where both names and nodes are given, names count") {
  const PaddedBody body(Args(R"("NodeNames":["a"],"Nodes":{"items":[{"metadata":{"name":"b"}}]})"));
  ArgsDecoder decoder;
  const auto args = decoder.Decode(body);
  REQUIRE(args);
  CHECK((*args)->names == std::vector<std::string_view>{"a"});
  CHECK_FALSE((*args)->whole_nodes);
}

TEST_CASE("An empty or null list of whole nodes is no node") {
  for (const char* list : {R"("Nodes":{"items":[]})", R"("Nodes":{"items":null})", R"("Nodes":{"metadata":{}})"}) {
    const PaddedBody body(Args(list));
    ArgsDecoder decoder;
    const auto args = decoder.Decode(body);
    REQUIRE(args);
    CHECK((*args)->whole_nodes);
    CHECK((*args)->names.empty());
  }
}

TEST_CASE("A body that is no ExtenderArgs is refused with the place of the fault") {
  const auto contains = [](const char* text) { return Catch::Contains(text); };
  CHECK_THAT(FaultOf(""), contains("empty"));
  CHECK_THAT(FaultOf("[]"), contains("not a JSON object"));
  CHECK_THAT(FaultOf("null"), contains("not a JSON object"));
  CHECK_THAT(FaultOf(R"({"NodeNames":["a"]})"), contains("Pod: missing"));
  CHECK_THAT(FaultOf(R"({"Pod":null,"NodeNames":["a"]})"), contains("Pod: missing"));
  CHECK_THAT(FaultOf(R"({"Pod":"p","NodeNames":["a"]})"), contains("Pod: "));
  CHECK_THAT(FaultOf(Args(R"("NodeNames":["a"])", "{}")), contains("Pod: "));
  CHECK_THAT(FaultOf(Args(R"("NodeNames":["a"])", R"({"metadata":{"name":"p"}})")), contains("metadata.uid"));
  CHECK_THAT(FaultOf(Args(R"("NodeNames":null,"Nodes":null)")), contains("NodeNames: missing"));
  CHECK_THAT(FaultOf(Args(R"("NodeNames":{"a":1})")), contains("NodeNames: "));
  CHECK_THAT(FaultOf(Args(R"("NodeNames":["a","b",3])")), contains("NodeNames[2]"));
  CHECK_THAT(FaultOf(Args(R"("NodeNames":["a",null])")), contains("NodeNames[1]"));
  CHECK_THAT(FaultOf(Args(R"("NodeNames":["a\x"])")), contains("NodeNames[0]"));
  CHECK_THAT(FaultOf(Args(R"("NodeNames":["a"],"NodeNames":["b"])")), contains("NodeNames: given twice"));
  CHECK_THAT(FaultOf(Args(R"("NodeNames":["a"],"nodeNames":["b"])")), contains("NodeNames: given twice"));
  CHECK_THAT(FaultOf(Args(R"("Nodes":[])")), contains("Nodes: "));
  CHECK_THAT(FaultOf(Args(R"("Nodes":{"items":[1]})")), contains("Nodes.items[0]"));
  CHECK_THAT(FaultOf(Args(R"("Nodes":{"items":[{"metadata":{}}]})")), contains("Nodes.items[0].metadata.name"));
  CHECK_THAT(FaultOf(Args(R"("NodeNames":["a"])") + "x"), contains("does not end with"));
  CHECK_THAT(FaultOf(Args(R"("NodeNames":["a"])") + "{}"), contains("more text after the object"));
  CHECK_THAT(FaultOf(Args("\"NodeNames\":[\"\xff\"]")), contains("not UTF-8 near byte 7"));
  CHECK_THAT(FaultOf(Args(R"("NodeNames":["a)")), contains("ends inside a string"));
  CHECK_THAT(FaultOf(Args(R"("NodeNames":["a" "b"])")), contains("byte 77"));
}

TEST_CASE("Nesting without end is refused, not followed") {
  const std::string deep(200000, '[');
  CHECK_FALSE(FaultOf(deep).empty());
  CHECK_FALSE(FaultOf(Args(R"("NodeNames":["a"],"x":)" + deep)).empty());
  const std::string closed = std::string(5000, '[') + std::string(5000, ']');
  CHECK_FALSE(FaultOf(Args(R"("NodeNames":["a"])", R"({"metadata":{"name":"p","uid":"u"},"spec":)" + closed + "}")).empty());
  CHECK_FALSE(FaultOf(Args(R"("Nodes":{"items":[{"metadata":{"name":"n"},"x":)" + closed + "}]}")).empty());
}

TEST_CASE("Damaged bodies are refused or decoded, and no truncated one is decoded") {
  for (const char* name : {"args_names.json", "args_nodes.json"}) {
    std::string text = Golden(name);
    text.pop_back();  // the newline, without which the object is whole
    BothWays decoder;
    test::ForEachDamaged(text, 4000, [&](const std::string& damaged) {
      const PaddedBody body(damaged);
      const auto args = decoder.Decode(body);
      if (damaged.size() < text.size() && args) FAIL("decoded although truncated to " << damaged.size());
      if (!args && args.error().message.empty()) FAIL("refused without a reason");
      if (args && (*args)->whole_nodes && (*args)->nodes.size() != (*args)->names.size()) FAIL("names and nodes differ in number");
    });
  }
}

TEST_CASE("Names survive any spelling JSON allows") {
  std::mt19937 random(3);
  const std::vector<std::string> pieces = {"a", "node-17", "\"", "\\", "/", "\n", "\x01", "ü", "\u2028", "𝄞", " ", "{\"NodeNames\":["};
  for (int round = 0; round < 200; ++round) {
    nlohmann::json names = nlohmann::json::array();
    for (auto count = random() % 20; count > 0; --count) {
      std::string name;
      for (auto length = random() % 6; length > 0; --length) name += pieces[random() % pieces.size()];
      names.push_back(name);
    }
    const bool ascii = random() % 2 == 0;
    const PaddedBody body(Args(R"("NodeNames":)" + names.dump(static_cast<int>(random() % 3) - 1, ' ', ascii)));
    BothWays decoder;
    const auto args = decoder.Decode(body);
    REQUIRE(args);
    CHECK(std::vector<std::string>((*args)->names.begin(), (*args)->names.end()) == names.get<std::vector<std::string>>());
  }
}

}  // namespace
}  // namespace partage::scheduler
