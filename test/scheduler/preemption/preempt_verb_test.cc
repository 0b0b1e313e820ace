// SPDX-License-Identifier: Apache-2.0
#include "scheduler/preemption/preempt_verb.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "test/scheduler/preemption/crowd.h"

namespace partage::scheduler {
namespace {

using nlohmann::json;
using test::Crowd;
using test::Node;

json Pod(int mib, int priority) {
  return {{"metadata", {{"name", "high"}, {"namespace", "default"}, {"uid", "uid-of-high"}}},
          {"spec",
           {{"priority", priority},
            {"containers",
             {{{"name", "c"}, {"resources", {{"limits", {{"nvidia.com/gpu", "1"}, {"nvidia.com/gpumem", std::to_string(mib)}}}}}}}}}}};
}

json Meta(std::vector<std::string> uids) {
  json pods = json::array();
  for (const auto& uid : uids) pods.push_back({{"UID", uid}});
  return {{"Pods", pods}, {"NumPDBViolations", 1}};
}

/// Node n1: one GPU with two pods of 500 MiB; n2: one free GPU of 1000 MiB; n3: one GPU that an important pod holds.
class Desk {
 public:
  Desk() : catalog_(vendors::Catalog::Embedded()) {
    for (const auto* node : {"n1", "n2", "n3"}) crowd_.With(Node(node).Gpu(1000));
    REQUIRE(crowd_.Bind("a", test::Ask(1).Mib(500), "n1", 1));
    REQUIRE(crowd_.Bind("b", test::Ask(1).Mib(500), "n1", 1));
    REQUIRE(crowd_.Bind("boss", test::Ask(1).Mib(1000), "n3", 100));
  }
  http::Response Post(const json& body, bool ready = true) {
    const auto handler = MakePreemptHandler(
        crowd_.engine(), catalog_, [ready] { return ready; }, registry_);
    http::Response answer;
    http::Request request;
    const std::string text = body.is_string() ? body.get<std::string>() : body.dump();
    request.body = text;
    handler(request, [&](http::Response response) { answer = std::move(response); });
    return answer;
  }
  json Nodes(const json& body) {
    const auto answer = Post(body);
    REQUIRE(answer.status == 200);
    return json::parse(answer.body)["NodeNameToMetaVictims"];
  }

  Crowd crowd_;
  const vendors::Catalog catalog_;
  metrics::Registry registry_;
};

TEST_CASE_METHOD(Desk, "A node is kept where the pod fits without the victims, and dropped where it never will") {
  const json asked = {
      {"Pod", Pod(400, 10)},
      {"NodeNameToVictims", nullptr},
      {"NodeNameToMetaVictims",
       {{"n1", Meta({"uid-of-a"})}, {"n2", Meta({"uid-of-cpu-hog"})}, {"n3", Meta({"uid-of-cpu-hog"})}, {"n4", Meta({"x"})}}}};
  const json nodes = Nodes(asked);
  CHECK(nodes == json{{"n1", Meta({"uid-of-a"})}, {"n2", Meta({"uid-of-cpu-hog"})}});
}

TEST_CASE_METHOD(Desk, "Further victims are added where the pod would not fit without them too") {
  const json nodes = Nodes({{"Pod", Pod(900, 10)}, {"NodeNameToMetaVictims", {{"n1", Meta({"uid-of-a"})}, {"n3", Meta({"uid-of-hog"})}}}});
  CHECK(nodes == json{{"n1", Meta({"uid-of-a", PodUid("uid-of-b").ToString()})}});
  CHECK(Nodes({{"Pod", Pod(900, 1)}, {"NodeNameToMetaVictims", {{"n1", Meta({"uid-of-a"})}}}}) == json::object());
}

TEST_CASE_METHOD(Desk, "Whole pods are taken as well as UIDs") {
  const json victim = {{"metadata", {{"name", "a"}, {"namespace", "default"}, {"uid", "uid-of-a"}}}};
  const json nodes = Nodes({{"Pod", Pod(400, 10)}, {"NodeNameToVictims", {{"n1", {{"Pods", {victim}}, {"NumPDBViolations", 1}}}}}});
  CHECK(nodes == json{{"n1", Meta({"uid-of-a"})}});
}

TEST_CASE_METHOD(Desk, "A pod that asks for nothing of ours keeps every node, ready or not") {
  json pod = Pod(1, 10);
  pod["spec"]["containers"][0].erase("resources");
  const json asked = {{"Pod", pod}, {"NodeNameToMetaVictims", {{"n3", Meta({"u"})}, {"unknown", Meta({"v"})}}}};
  CHECK(Nodes(asked) == asked["NodeNameToMetaVictims"]);
  CHECK(Post(asked, false).status == 200);
}

TEST_CASE_METHOD(Desk, "The node that kube-scheduler then promises the pod is held for it") {
  REQUIRE(Nodes({{"Pod", Pod(400, 10)}, {"NodeNameToMetaVictims", {{"n1", Meta({"uid-of-a"})}, {"n2", Meta({"uid-of-hog"})}}}}).size() ==
          2);
  auto& engine = crowd_.engine();
  engine.Nominated({test::Ref("high"), "n1", nullptr});
  CHECK_FALSE(crowd_.cluster().ClaimedNode(test::Ref("high")));
  crowd_.cluster().NoteEvicted(PodUid("uid-of-a"));
  engine.Nominated({test::Ref("high"), "n1", nullptr});
  CHECK(crowd_.cluster().ClaimedNode(test::Ref("high")) == "n1");
  engine.Nominated({test::Ref("high"), "n2", nullptr});
  CHECK(crowd_.cluster().ClaimedNode(test::Ref("high")) == "n1");
  engine.Nominated({test::Ref("stranger"), "n2", nullptr});
  CHECK_FALSE(crowd_.cluster().ClaimedNode(test::Ref("stranger")));
  crowd_.Gone("a");
  const std::vector<std::string_view> only = {"n1"};
  CHECK(engine.Filter(test::Input("thief", test::Ask(1).Mib(200)), only).fitting.empty());
  CHECK(engine.Filter(test::Input("high", test::Ask(1).Mib(400)), only).fitting.size() == 1);
}

TEST_CASE_METHOD(Desk, "Before the cluster is known nobody is preempted") {
  CHECK(Post({{"Pod", Pod(400, 10)}, {"NodeNameToMetaVictims", {{"n1", Meta({"uid-of-a"})}}}}, false).status == 503);
}

TEST_CASE_METHOD(Desk, "A body that is none is told where it is wrong") {
  for (const json& body : {json("{"), json("[]"), json("{}"), json{{"Pod", Pod(1, 1)}, {"NodeNameToMetaVictims", 7}},
                           json{{"Pod", Pod(1, 1)}, {"NodeNameToMetaVictims", {{"n", 7}}}},
                           json{{"Pod", Pod(1, 1)}, {"NodeNameToMetaVictims", {{"n", {{"Pods", 7}}}}}},
                           json{{"Pod", Pod(1, 1)}, {"NodeNameToMetaVictims", {{"n", {{"Pods", {7}}}}}}},
                           json{{"Pod", Pod(1, 1)}, {"NodeNameToVictims", {{"n", {{"Pods", {{{"UID", "u"}}}}}}}}}}) {
    INFO(body.dump());
    CHECK(Post(body).status == 400);
  }
}

}  // namespace
}  // namespace partage::scheduler
