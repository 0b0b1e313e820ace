// SPDX-License-Identifier: Apache-2.0
#include "scheduler/webhook/admission.h"

#include "test/scheduler/webhook/desk.h"

namespace partage::scheduler {
namespace {

using Catch::Contains;
using test::Desk;
using test::Json;
using test::PodJson;

constexpr const char* kUuid = "GPU-03f69c50-207a-2038-9b45-23cac89cb67d";

Json LimitsOf(const Json& pod) { return pod["spec"]["containers"][0]["resources"]["limits"]; }

TEST_CASE("A pod that asks for nothing of ours is allowed untouched, whatever else it says") {
  Desk desk("partage");
  auto pod = PodJson({{"cpu", "1"}}, {{"hami.io/node-scheduler-policy", "nonsense"}});
  pod["spec"]["nodeName"] = "n1";
  CHECK(desk.Judge(pod) == Json({{"uid", "u-1"}, {"allowed", true}}));
  CHECK(desk.Judge(PodJson({{"nvidia.com/gpu", "0"}, {"nvidia.com/gpumem", "3000"}})) == Json({{"uid", "u-1"}, {"allowed", true}}));
}

TEST_CASE("Memory or compute alone gets its device count, a whole card its compute") {
  Desk desk;
  CHECK(LimitsOf(desk.Created(PodJson({{"nvidia.com/gpumem", "3k"}}))) == Json({{"nvidia.com/gpumem", "3k"}, {"nvidia.com/gpu", "1"}}));
  CHECK(LimitsOf(desk.Created(PodJson({{"nvidia.com/gpu", "2"}}))) == Json({{"nvidia.com/gpu", "2"}, {"nvidia.com/gpucores", "100"}}));
  CHECK(LimitsOf(desk.Created(PodJson({{"nvidia.com/gpucores", "30"}}))) == Json({{"nvidia.com/gpucores", "30"}, {"nvidia.com/gpu", "1"}}));
}

TEST_CASE("What stands only among the requests is written among the limits, where Kubernetes wants it") {
  Desk desk;
  auto pod = PodJson({});
  auto& resources = pod["spec"]["containers"][0]["resources"];
  resources = {{"requests", {{"nvidia.com/gpu", "2"}, {"nvidia.com/gpumem-percentage", "50"}, {"cpu", "1"}}}};
  const Json expected = {{"nvidia.com/gpu", "2"}, {"nvidia.com/gpumem-percentage", "50"}};
  CHECK(LimitsOf(desk.Created(pod)) == expected);
}

TEST_CASE("Init containers and sidecars are written out like the others, and containers without GPUs stay as they are") {
  Desk desk;
  auto pod = PodJson({{"nvidia.com/gpumem", "1000"}});
  pod["spec"]["containers"].push_back({{"name", "helper"}, {"resources", Json::object()}});
  pod["spec"]["initContainers"] = {
      {{"name", "first"}}, {{"name", "proxy"}, {"restartPolicy", "Always"}, {"resources", test::Limits({{"nvidia.com/gpumem", "500"}})}}};
  const auto created = desk.Created(pod)["spec"];
  CHECK(created["initContainers"][0] == pod["spec"]["initContainers"][0]);
  CHECK(created["initContainers"][1]["resources"]["limits"]["nvidia.com/gpu"] == "1");
  CHECK(created["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1");
  CHECK(created["containers"][1] == pod["spec"]["containers"][1]);
}

TEST_CASE("The configured scheduler is set where a pod names none, and another one is left alone with a warning") {
  Desk desk("partage");
  auto pod = PodJson({{"nvidia.com/gpumem", "1000"}});
  CHECK(desk.Created(pod)["spec"]["schedulerName"] == "partage");
  pod["spec"].erase("schedulerName");
  CHECK(desk.Created(pod)["spec"]["schedulerName"] == "partage");
  pod["spec"]["schedulerName"] = "other";
  CHECK(desk.Created(pod) == pod);
  CHECK_THAT(desk.Warnings(pod).at(0), Contains("\"other\"") && Contains("no share"));
  CHECK(Desk().Created(pod)["spec"]["schedulerName"] == "other");
}

TEST_CASE("Requests that cannot be meant are refused with the correction") {
  Desk desk;
  CHECK(desk.Refusal(PodJson({{"nvidia.com/gpu", "1"}, {"nvidia.com/gpumem", "16Gi"}})) ==
        "container main: nvidia.com/gpumem \"16Gi\" is not a number of MiB; did you mean 16384?");
  CHECK_THAT(desk.Refusal(PodJson({{"nvidia.com/gpumem", "1500m"}})), Contains("1500m") && Contains("MiB"));
  CHECK_THAT(desk.Refusal(PodJson({{"nvidia.com/gpu", "1"}, {"nvidia.com/gpumem-percentage", "120"}})), Contains("1 to 100"));
}

TEST_CASE("Annotation values nobody knows are refused with those there are") {
  Desk desk;
  const auto refusal = [&](const char* key, const char* value) {
    return desk.Refusal(PodJson({{"nvidia.com/gpumem", "1000"}}, {{key, value}}));
  };
  CHECK_THAT(refusal("hami.io/node-scheduler-policy", "binpak"), Contains("\"binpak\"") && Contains("binpack, spread"));
  CHECK_THAT(refusal("nvidia.com/numa-bind", "yes"), Contains("neither true nor false"));
  CHECK_THAT(refusal("hami.io/device-scoring-weights", "slot=1,core=x"), Contains("slot=1,core=1,memory=3"));
  CHECK_THAT(refusal("nvidia.com/vgpu-mode", "fast"), Contains("\"fast\" is unknown"));
}

TEST_CASE("A text that is no UUID is refused, with the UUID that was meant where that is plain") {
  Desk desk;
  desk.With(test::Node("n1").Gpus(1, 1000));
  const auto judge = [&](const std::string& uuids) {
    return PodJson({{"nvidia.com/gpumem", "1000"}}, {{"nvidia.com/use-gpuuuid", uuids}});
  };
  CHECK_THAT(desk.Refusal(judge(std::string(kUuid).substr(4))), Contains(std::string("did you mean ") + kUuid + "?"));
  CHECK_THAT(desk.Refusal(judge(std::string(kUuid) + ";" + kUuid)), Contains("separated by commas"));
  CHECK_THAT(desk.Refusal(judge(std::string(kUuid) + "0")), Contains("is not a UUID like GPU-xxxxxxxx"));
  CHECK(desk.Judge(judge(kUuid))["allowed"] == true);
  CHECK(desk.Judge(judge("n1-gpu0"))["allowed"] == true);
  const auto nouse = PodJson({{"nvidia.com/gpumem", "1000"}}, {{"nvidia.com/nouse-gpuuuid", "0"}});
  CHECK_THAT(desk.Refusal(nouse), Contains("nouse-gpuuuid"));
}

TEST_CASE("A pod whose node is chosen already, and a privileged one, are refused with the way out") {
  Desk desk;
  auto bound = PodJson({{"nvidia.com/gpumem", "1000"}});
  bound["spec"]["nodeName"] = "n1";
  CHECK_THAT(desk.Refusal(bound), Contains("nodeName") && Contains("nodeSelector"));
  bound["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "x";
  CHECK(desk.Created(bound) == bound);
  auto privileged = PodJson({{"nvidia.com/gpumem", "1000"}});
  privileged["spec"]["initContainers"] = {{{"name", "root"}, {"securityContext", {{"privileged", true}}}}};
  CHECK_THAT(desk.Refusal(privileged), Contains("container root is privileged"));
}

TEST_CASE("A pod with an opt-out label is left alone, however wrong") {
  Desk desk("partage");
  for (const auto label : kOptOutLabels) {
    auto pod = PodJson({{"nvidia.com/gpumem", "16Gi"}});
    pod["metadata"]["labels"][std::string(label)] = "ignore";
    CHECK(desk.Created(pod) == pod);
    pod["metadata"]["labels"][std::string(label)] = "keep";
    CHECK(desk.Judge(pod)["allowed"] == false);
  }
}

TEST_CASE("Only the creation of pods is judged, and a dry run like any other request") {
  Desk desk;
  const auto wrong = test::ReviewJson(PodJson({{"nvidia.com/gpumem", "16Gi"}}));
  const auto changed = [&](const Json& change) {
    auto review = wrong;
    review["request"].merge_patch(change);
    return desk.Answer(review)["allowed"];
  };
  CHECK(changed({{"operation", "UPDATE"}}) == true);
  CHECK(changed({{"operation", "DELETE"}, {"object", nullptr}}) == true);
  CHECK(changed({{"subResource", "binding"}}) == true);
  CHECK(changed({{"resource", {{"group", "apps"}, {"resource", "pods"}}}}) == true);
  CHECK(changed({{"resource", {{"resource", "deployments"}}}}) == true);
  CHECK(changed({{"dryRun", true}}) == false);
  CHECK(changed(Json::object()) == false);
}

}  // namespace
}  // namespace partage::scheduler
