// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/cluster_api.h"

#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "test/support/recording_client.h"

namespace partage::scheduler {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using test::RecordingClient;

const k8s::Binding kBinding{
    .ns = "team-a", .name = "p", .uid = "u", .node = "gpu-1.example", .annotations = {{"partage.dev/allocation", "{}"}}};

TEST_CASE("A Binding is posted to the pod's binding subresource") {
  RecordingClient client;
  client.answer->status = 201;
  const auto api = MakeKubeClusterApi(client);
  REQUIRE(api->WriteBinding(kBinding));
  REQUIRE(client.calls.size() == 1);
  CHECK(client.calls[0].method == "POST");
  CHECK(client.calls[0].path == "/api/v1/namespaces/team-a/pods/p/binding");
  const json body = json::parse(client.calls[0].body);
  CHECK(body["kind"] == "Binding");
  CHECK(body["metadata"]["uid"] == "u");
  CHECK(body["metadata"]["annotations"]["partage.dev/allocation"] == "{}");
  CHECK(body["target"]["name"] == "gpu-1.example");
}

TEST_CASE("An eviction names the pod's UID, says when it is only a question, and keeps a budget apart from a busy server") {
  RecordingClient client;
  const auto api = MakeKubeClusterApi(client);
  const auto answer = [&](int status, const std::string& body = "{}") {
    client.answer = k8s::Reply{.status = status, .body = body};
    return api->Evict({.ns = "team-a", .name = "p", .uid = "u", .dry_run = true});
  };
  CHECK(answer(201) == ClusterApi::Evicted::kYes);
  CHECK(client.calls[0].path == "/api/v1/namespaces/team-a/pods/p/eviction");
  const json body = json::parse(client.calls[0].body);
  CHECK(body["apiVersion"] == "policy/v1");
  CHECK(body["deleteOptions"]["preconditions"]["uid"] == "u");
  CHECK(body["deleteOptions"]["dryRun"] == json::array({"All"}));
  CHECK(answer(404) == ClusterApi::Evicted::kGone);
  CHECK(answer(409) == ClusterApi::Evicted::kGone);
  CHECK(answer(429, R"({"details":{"causes":[{"reason":"DisruptionBudget","message":"no"}]}})") == ClusterApi::Evicted::kProtected);
  for (const auto* busy : {"{}", "", "[]", R"({"details":{"causes":[7]}})", R"({"details":{"causes":{}}})", R"({"details":7})"}) {
    CHECK(answer(429, busy).error().code == Code::kUnavailable);
  }
  CHECK(answer(500).error().code == Code::kUnknown);
  CHECK(answer(403).error().code == Code::kInvalid);
  REQUIRE(api->Evict({.ns = "team-a", .name = "p", .uid = "u"}).error().code == Code::kInvalid);
  CHECK_FALSE(json::parse(client.calls.back().body)["deleteOptions"].contains("dryRun"));
  CHECK_FALSE(api->Evict({.ns = "a/b", .name = "p", .uid = "u"}));
}

TEST_CASE("Statuses and transport failures keep their meaning, and name the call") {
  RecordingClient client;
  const auto api = MakeKubeClusterApi(client);
  const auto code_of = [&](int status) {
    client.answer = k8s::Reply{.status = status, .body = R"({"kind":"Status","message":"the reason"})"};
    return api->WriteBinding(kBinding).error();
  };
  CHECK(code_of(404).code == Code::kNotFound);
  CHECK(code_of(409).code == Code::kConflict);
  CHECK(code_of(403).code == Code::kInvalid);
  CHECK(code_of(422).code == Code::kInvalid);
  CHECK(code_of(429).code == Code::kUnavailable);
  CHECK(code_of(500).code == Code::kUnknown);
  CHECK_THAT(code_of(409).message, Catch::Contains("POST /api/v1/namespaces/team-a/pods/p/binding") && Catch::Contains("the reason"));
  client.answer = Fail(Code::kUnavailable, "connection refused");
  CHECK(api->WriteBinding(kBinding).error().code == Code::kUnavailable);
  client.answer = Fail(Code::kUnknown, "time-out");
  CHECK(api->GetPod("team-a", "p").error().code == Code::kUnknown);
}

TEST_CASE("The wait a throttling server asks for is remembered until it serves again") {
  RecordingClient client;
  const auto api = MakeKubeClusterApi(client);
  CHECK(api->retry_after() == 0ms);
  client.answer = k8s::Reply{.status = 429, .body = "{}", .retry_after = 2s};
  CHECK_FALSE(api->WriteBinding(kBinding));
  CHECK(api->retry_after() == 2s);
  client.answer = k8s::Reply{.status = 201, .body = "{}"};
  CHECK(api->WriteBinding(kBinding));
  CHECK(api->retry_after() == 0ms);
}

TEST_CASE("A live pod is read whole") {
  RecordingClient client;
  client.answer->body = R"({"metadata":{"name":"p","namespace":"team-a","uid":"u","annotations":{"k":"v"}},"spec":{"nodeName":"n1"}})";
  const auto pod = MakeKubeClusterApi(client)->GetPod("team-a", "p");
  REQUIRE(pod);
  CHECK(client.calls.at(0).path == "/api/v1/namespaces/team-a/pods/p");
  CHECK(pod->uid == "u");
  CHECK(pod->node_name == "n1");
  CHECK(pod->annotations.at("k") == "v");
}

TEST_CASE("An answer that is no pod is an error") {
  RecordingClient client;
  for (const char* body : {"", "null", "[]", "{\"metadata\":"}) {
    client.answer->body = body;
    CHECK_FALSE(MakeKubeClusterApi(client)->GetPod("team-a", "p"));
  }
}

TEST_CASE("An annotation of a node is merge-patched") {
  RecordingClient client;
  REQUIRE(MakeKubeClusterApi(client)->AnnotateNode("gpu-1", "partage.dev/requeue", "now"));
  REQUIRE(client.calls.size() == 1);
  CHECK(client.calls[0].method == "PATCH");
  CHECK(client.calls[0].path == "/api/v1/nodes/gpu-1");
  CHECK(client.calls[0].content_type == "application/merge-patch+json");
  CHECK(json::parse(client.calls[0].body) == json{{"metadata", {{"annotations", {{"partage.dev/requeue", "now"}}}}}});
}

TEST_CASE("A pod's nominated node is merge-patched into its status, for this very pod, and taken away again") {
  RecordingClient client;
  const auto api = MakeKubeClusterApi(client);
  REQUIRE(api->Nominate({"team-a", "p", "u", "gpu-1"}));
  CHECK(client.calls[0].method == "PATCH");
  CHECK(client.calls[0].path == "/api/v1/namespaces/team-a/pods/p/status");
  CHECK(client.calls[0].content_type == "application/merge-patch+json");
  CHECK(json::parse(client.calls[0].body) == json{{"metadata", {{"uid", "u"}, {"annotations", {{"partage.dev/promised-node", "gpu-1"}}}}},
                                                  {"status", {{"nominatedNodeName", "gpu-1"}}}});
  REQUIRE(api->Nominate({"team-a", "p", "u", ""}));
  CHECK(json::parse(client.calls[1].body)["status"]["nominatedNodeName"].is_null());
  CHECK(json::parse(client.calls[1].body)["metadata"]["annotations"]["partage.dev/promised-node"].is_null());
  client.answer = k8s::Reply{.status = 409, .body = "{}"};
  CHECK(api->Nominate({"team-a", "p", "u", "gpu-1"}).error().code == Code::kConflict);
}

TEST_CASE("Names that Kubernetes would not accept never reach a path") {
  RecordingClient client;
  const auto api = MakeKubeClusterApi(client);
  for (const std::string name : {"", "..", "a/b", "a?x=1", "a%2fb", "A", "a b", "a\n", "-a", "a-", "ü"}) {
    k8s::Binding binding = kBinding;
    binding.name = name;
    CHECK(api->WriteBinding(binding).error().code == Code::kInvalid);
    binding = kBinding;
    binding.node = name;
    CHECK(api->WriteBinding(binding).error().code == Code::kInvalid);
    CHECK(api->GetPod(name, "p").error().code == Code::kInvalid);
    CHECK(api->Nominate({"team-a", name, "u", "gpu-1"}).error().code == Code::kInvalid);
    CHECK(api->AnnotateNode(name, "k", "v").error().code == Code::kInvalid);
  }
  CHECK(client.calls.empty());
}

}  // namespace
}  // namespace partage::scheduler
