// SPDX-License-Identifier: Apache-2.0
#include "k8s/api/decode.h"

#include <random>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace partage::k8s {
namespace {

using nlohmann::json;

/// A pod as kube-apiserver would send it, everything Partage reads filled in.
json FullPod() {
  return json::parse(R"({
    "kind": "Pod", "apiVersion": "v1",
    "metadata": {"name": "p", "namespace": "ns", "uid": "u-1", "resourceVersion": "4711", "creationTimestamp": "2026-01-01T00:00:00Z",
                 "annotations": {"a/b": "1", "c": "{\"d\":[2]}"}, "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]},
    "spec": {"nodeName": "n1", "schedulerName": "default-scheduler", "priority": 1000, "preemptionPolicy": "Never",
             "initContainers": [{"name": "i", "restartPolicy": "Always", "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
             "containers": [{"name": "c", "image": "x", "resources": {
                 "limits": {"nvidia.com/gpu": "2", "nvidia.com/gpumem": 3000, "cpu": "1", "memory": "1Gi"},
                 "requests": {"nvidia.com/gpu": "2", "cpu": "500m"}}}]},
    "status": {"phase": "Pending", "nominatedNodeName": "n2"}})");
}

Result<Pod> Decode(const json& pod) { return DecodePodText(pod.dump()); }

json At(json pod, const std::string& pointer, json value) {
  pod[json::json_pointer(pointer)] = std::move(value);
  return pod;
}

bool HasSoftPreferences(const std::string& pointer, const json& value) {
  const auto pod = Decode(At(FullPod(), pointer, value));
  REQUIRE(pod.has_value());
  return pod->has_soft_preferences;
}

std::string ErrorWith(const std::string& pointer, const json& value) {
  const auto pod = Decode(At(FullPod(), pointer, value));
  REQUIRE_FALSE(pod.has_value());
  CHECK(pod.error().code == Code::kInvalid);
  return pod.error().message;
}

TEST_CASE("A creation time that is none counts as absent, and preemption as allowed") {
  for (const auto* time : {"", "yesterday", "2026-13-01T00:00:00Z", "1500-01-01T00:00:00Z"}) {
    CHECK(Decode(At(FullPod(), "/metadata/creationTimestamp", time))->created == 0);
  }
  CHECK_FALSE(Decode(At(FullPod(), "/spec/preemptionPolicy", "PreemptLowerPriority"))->never_preempts);
}

TEST_CASE("Every field of a pod that Partage uses is read") {
  const auto pod = Decode(FullPod());
  REQUIRE(pod.has_value());
  CHECK(pod->FullName() == "ns/p");
  CHECK(pod->uid == "u-1");
  CHECK(pod->resource_version == 4711);
  CHECK(pod->annotations == StringMap{{"a/b", "1"}, {"c", R"({"d":[2]})"}});
  CHECK_FALSE(pod->deleting);
  CHECK(pod->node_name == "n1");
  CHECK(pod->scheduler_name == "default-scheduler");
  CHECK(pod->priority == 1000);
  CHECK(pod->never_preempts);
  CHECK(pod->created == 1767225600);
  CHECK(pod->phase == "Pending");
  CHECK(pod->nominated_node == "n2");
  CHECK_FALSE(pod->has_soft_preferences);
}

TEST_CASE("Containers keep extended resources only, quantities as written") {
  const auto pod = Decode(FullPod());
  REQUIRE(pod.has_value());
  REQUIRE(pod->containers.size() == 1);
  CHECK(pod->containers[0].name == "c");
  CHECK(pod->containers[0].limits == StringMap{{"nvidia.com/gpu", "2"}, {"nvidia.com/gpumem", "3000"}});
  CHECK(pod->containers[0].requests == StringMap{{"nvidia.com/gpu", "2"}});
  CHECK_FALSE(pod->containers[0].restart_always);
  REQUIRE(pod->init_containers.size() == 1);
  CHECK(pod->init_containers[0].restart_always);
}

TEST_CASE("Quantities that are JSON numbers keep their value") {
  const auto quantity = [](const std::string& number) {
    const auto pod = DecodePodText(R"({"metadata":{"name":"p"},"spec":{"containers":[{"resources":{"limits":{"x/y":)" + number + "}}}]}}");
    REQUIRE(pod.has_value());
    return pod->containers[0].limits.at("x/y");
  };
  CHECK(quantity("3000") == "3000");
  CHECK(quantity("-1") == "-1");
  CHECK(quantity("18446744073709551615") == "18446744073709551615");
  CHECK(quantity("0.5") == "0.5");
  CHECK(quantity("1e3") == "1000");
}

TEST_CASE("Absent and null members count as empty") {
  for (const auto* text : {R"({"metadata":{"name":"p"}})",
                           R"({"metadata":{"name":"p","annotations":null,"deletionTimestamp":null},"spec":null,"status":null})",
                           R"({"metadata":{"name":"p"},"spec":{"containers":null,"affinity":null,"nodeName":null}})"}) {
    const auto pod = DecodePodText(text);
    REQUIRE(pod.has_value());
    CHECK(pod->name == "p");
    CHECK(pod->containers.empty());
    CHECK(pod->annotations.empty());
    CHECK_FALSE(pod->deleting);
    CHECK(pod->resource_version == 0);
  }
}

TEST_CASE("A deletion time stamp means deleting") {
  CHECK(Decode(At(FullPod(), "/metadata/deletionTimestamp", "2026-01-01T00:00:00Z"))->deleting);
}

TEST_CASE("A resource version that is no number reads as 0") {
  for (const auto* text : {"", "abc", "12x", "-1", "99999999999999999999"}) {
    CHECK(Decode(At(FullPod(), "/metadata/resourceVersion", text))->resource_version == 0);
  }
}

TEST_CASE("Soft preferences are preferred affinity terms and ScheduleAnyway constraints") {
  const std::string preferred = "/preferredDuringSchedulingIgnoredDuringExecution";
  const std::string required = "/requiredDuringSchedulingIgnoredDuringExecution";
  for (const std::string kind : {"nodeAffinity", "podAffinity", "podAntiAffinity"}) {
    CHECK(HasSoftPreferences("/spec/affinity/" + kind + preferred, json::array({{{"weight", 1}}})));
    CHECK_FALSE(HasSoftPreferences("/spec/affinity/" + kind + preferred, json::array()));
    CHECK_FALSE(HasSoftPreferences("/spec/affinity/" + kind + required, json::array({json::object()})));
  }
  const auto constraint = [](const char* rule) { return json::array({{{"maxSkew", 1}, {"whenUnsatisfiable", rule}}}); };
  CHECK(HasSoftPreferences("/spec/topologySpreadConstraints", constraint("ScheduleAnyway")));
  CHECK_FALSE(HasSoftPreferences("/spec/topologySpreadConstraints", constraint("DoNotSchedule")));
}

TEST_CASE("A wrong type is an error that names the member") {
  CHECK(ErrorWith("/metadata/name", 7) == "Pod metadata.name is a number, not a string");
  CHECK(ErrorWith("/metadata", json::array()) == "Pod metadata is an array, not an object");
  CHECK(ErrorWith("/metadata/annotations", json{{"k", true}}) == R"(Pod metadata.annotations["k"] is a boolean, not a string)");
  CHECK(ErrorWith("/spec/containers", "c") == "Pod spec.containers is a string, not an array");
  CHECK(ErrorWith("/spec/containers/0", 1) == "Pod spec.containers[0] is a number, not an object");
  CHECK(ErrorWith("/spec/containers/0/resources/limits", json{{"x/y", json::object()}}) ==
        R"(Pod spec.containers[0].resources.limits["x/y"] is an object, not a quantity)");
  CHECK(ErrorWith("/spec/priority", 3000000000) == "Pod spec.priority is 3000000000, which does not fit in 32 bits");
  CHECK(ErrorWith("/spec/priority", 1.5) == "Pod spec.priority is a number, not an integer");
}

TEST_CASE("An object without a name is refused") {
  CHECK(DecodePodText("{}").error().message == "Pod metadata.name is missing");
  CHECK(DecodeNodeText(R"({"metadata":{"name":""}})").error().message == "Node metadata.name is missing");
  CHECK(DecodeNodeText("[]").error().message == "Node is an array, not an object");
}

TEST_CASE("A node's name, uid, version and annotations are read") {
  const auto node =
      DecodeNodeText(R"({"metadata":{"name":"n","uid":"u","resourceVersion":"9","annotations":{"k":"v"}},"spec":{"podCIDR":1}})");
  REQUIRE(node.has_value());
  CHECK(node->name == "n");
  CHECK(node->uid == "u");
  CHECK(node->resource_version == 9);
  CHECK(node->annotations == StringMap{{"k", "v"}});
}

TEST_CASE("Text that is no JSON is an error, never a crash") {
  const auto deep = [](char open) { return std::string(200000, open); };
  for (const auto& text :
       {std::string(), std::string("nonsense"), std::string("\xff\xfe{}"), deep('['), deep('{'), std::string(1, '\0'),
        std::string("{\"metadata\":{\"name\":\"\xc3\x28\"}}"), R"({"metadata":{"name":"p"}} trailing)" + std::string()}) {
    const auto pod = DecodePodText(text);
    REQUIRE_FALSE(pod.has_value());
    CHECK(pod.error().code == Code::kInvalid);
  }
}

TEST_CASE("Truncated and damaged documents never crash the decoder", "[property]") {
  const auto text = FullPod().dump();
  std::mt19937 random(20260101);
  for (std::size_t length = 0; length < text.size(); ++length) CHECK_FALSE(DecodePodText(text.substr(0, length)).has_value());
  for (int round = 0; round < 20000; ++round) {
    auto damaged = text;
    for (int edits = 1 + static_cast<int>(random() % 3); edits > 0; --edits)
      damaged[random() % damaged.size()] = static_cast<char>(random());
    const auto pod = DecodePodText(damaged);
    if (!pod) CHECK(pod.error().code == Code::kInvalid);
  }
}

TEST_CASE("Any member may have any type without a crash", "[property]") {
  const auto flat = FullPod().flatten();
  for (const auto& [pointer, old] : flat.items()) {
    for (const auto& value : {json(), json(1), json(-1.5), json("x"), json(true), json::array({1}), json{{"k", json::array()}}}) {
      const auto pod = Decode(At(FullPod(), pointer, value));
      if (!pod) CHECK_THAT(pod.error().message, Catch::StartsWith("Pod "));
    }
  }
}

}  // namespace
}  // namespace partage::k8s
