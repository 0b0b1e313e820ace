// SPDX-License-Identifier: Apache-2.0
#include "cli/manifest.h"

#include <set>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace partage::cli {
namespace {

using nlohmann::json;

constexpr std::string_view kPod = R"(
apiVersion: v1
kind: Pod
metadata:
  name: notebook
  annotations: {priority: 5, "on": true}
spec:
  initContainers:
    - name: warm-up
      resources: {limits: {nvidia.com/gpu: 2}}
  containers:
    - name: main
      image: "7"
      resources:
        limits: {nvidia.com/gpu: 1, nvidia.com/gpumem: 4096, cpu: 2}
)";

std::vector<ManifestPod> Parse(std::string_view yaml, int repeat = 1) {
  auto pods = ParseManifests(yaml, "p.yaml", repeat);
  INFO((pods ? "" : pods.error().message));
  REQUIRE(pods.has_value());
  return *std::move(pods);
}

std::string Complaint(std::string_view yaml) {
  const auto pods = ParseManifests(yaml, "p.yaml");
  REQUIRE_FALSE(pods.has_value());
  CHECK(pods.error().code == Code::kInvalid);
  return pods.error().message;
}

TEST_CASE("A manifest becomes the document an API server would hold") {
  const auto pods = Parse(kPod);
  REQUIRE(pods.size() == 1);
  const json pod = json::parse(pods[0].json);
  CHECK(pod["metadata"]["namespace"] == "default");
  CHECK(pod["metadata"]["uid"] == pods[0].uid);
  CHECK(pod["metadata"]["annotations"] == json{{"priority", "5"}, {"on", "true"}});
  CHECK(pod["spec"]["containers"][0]["image"] == "7");
  CHECK(pod["spec"]["containers"][0]["resources"]["limits"] == json{{"nvidia.com/gpu", "1"}, {"nvidia.com/gpumem", "4096"}, {"cpu", "2"}});
  CHECK(pod["status"]["phase"] == "Pending");
}

TEST_CASE("What a pod asks for is said in short") {
  CHECK(Parse(kPod)[0].asked == "(2 × card) + 1 × 4 GiB");
  CHECK(Parse("{kind: Pod, metadata: {name: a}}")[0].asked == "no device");
  const auto asked = [](const std::string& limits) {
    return Parse("{kind: Pod, metadata: {name: a}, spec: {containers: [{resources: {limits: {" + limits + "}}}]}}")[0].asked;
  };
  CHECK(asked("nvidia.com/gpu: 4, nvidia.com/gpucores: 100") == "4 × card");
  CHECK(asked("nvidia.com/gpumem: 3000, nvidia.com/gpucores: 20") == "1 × 2.9 GiB, 20 %");
  CHECK(asked("nvidia.com/gpu: 1, nvidia.com/gpumem-percentage: 50") == "1 × 50 % memory");
  CHECK(asked("nvidia.com/gpu: 1, nvidia.com/gpumem: 16Gi") == "1 × 16Gi");
  CHECK(asked("cpu: 2") == "no device");
}

TEST_CASE("Several documents are several pods, empty ones none") {
  const auto pods = Parse("kind: Pod\nmetadata: {name: a, namespace: x}\n---\n---\nkind: Pod\nmetadata: {name: b}\n");
  REQUIRE(pods.size() == 2);
  CHECK(pods[0].ns == "x");
  CHECK(pods[1].name == "b");
}

TEST_CASE("Repeated pods have names and UIDs of their own") {
  std::set<std::string> names, uids;
  for (const auto& pod : Parse(kPod, 3)) {
    names.insert(pod.name);
    uids.insert(pod.uid);
    CHECK(pod.uid.size() == 36);
  }
  CHECK(names == std::set<std::string>{"notebook-1", "notebook-2", "notebook-3"});
  CHECK(uids.size() == 3);
}

TEST_CASE("A UID that is given is kept, so that a pod can be tried again") {
  constexpr std::string_view kWithUid = "{kind: Pod, metadata: {name: a, uid: given}}";
  CHECK(Parse(kWithUid)[0].uid == "given");
  CHECK(Parse(kWithUid, 2)[1].uid != "given");
}

TEST_CASE("What is no pod is refused with its place") {
  CHECK(Complaint("kind: Service\nmetadata: {name: a}\n") == "p.yaml: document 1: is not of kind Pod");
  CHECK(Complaint("kind: Pod\nmetadata: {name: a}\n---\nkind: Pod\n") == "p.yaml: document 2: metadata.name is missing");
  CHECK(Complaint("just text") == "p.yaml: document 1: is not of kind Pod");
  CHECK(Complaint("kind: [Pod\n").find("p.yaml:") == 0);
}

TEST_CASE("Odd shapes are refused, not obeyed") {
  CHECK(Complaint("{kind: Pod, metadata: {name: a}, spec: {containers: 5}}").find("p.yaml: is not a pod: ") == 0);
  CHECK(Complaint("{kind: Pod, metadata: {name: a}, spec: {containers: [{resources: {limits: [1]}}]}}").find("p.yaml: is not a pod: ") ==
        0);
  CHECK_FALSE(ParseManifests(std::string(100'000, '['), "p.yaml").has_value());
}

TEST_CASE("A manifest of aliases within aliases is refused") {
  std::string bomb = "kind: Pod\nmetadata: {name: a}\nx0: &x0 [1, 1]\n";
  for (int level = 1; level < 40; ++level) bomb += fmt::format("x{0}: &x{0} [*x{1}, *x{1}]\n", level, level - 1);
  CHECK(Complaint(bomb).find("more than 500000 values") != std::string::npos);
}

TEST_CASE("A bracket too many in a manifest is refused") {
  CHECK(Complaint("[a],") == "p.yaml:1: is not YAML: a bracket or comma does not belong here");
}

}  // namespace
}  // namespace partage::cli
