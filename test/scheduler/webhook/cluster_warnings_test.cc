// SPDX-License-Identifier: Apache-2.0
// What the webhook says about requests that the cluster, as it is, cannot serve.
#include "test/scheduler/webhook/desk.h"

namespace partage::scheduler {
namespace {

using Catch::Contains;
using test::Desk;
using test::Json;
using test::Node;
using test::PodJson;

std::string OnlyWarning(Desk& desk, const Json& pod) {
  const auto warnings = desk.Warnings(pod);
  INFO(Json(warnings).dump());
  REQUIRE(warnings.size() == 1);
  return warnings.front();
}

TEST_CASE("A request no GPU of the cluster can ever serve is told at once, with the largest there is") {
  Desk desk;
  desk.With(Node("small").Gpus(2, 16000)).With(Node("large").Gpus(1, 24000));
  CHECK_THAT(OnlyWarning(desk, PodJson({{"nvidia.com/gpumem", "40000"}})),
             Contains("no node of the cluster could ever run this pod") && Contains("40000 MiB") && Contains("GPU 0 of large: 24000 MiB"));
  CHECK_THAT(OnlyWarning(desk, PodJson({{"nvidia.com/gpu", "3"}, {"nvidia.com/gpumem", "1000"}})), Contains("2 of 3"));
  CHECK(desk.Warnings(PodJson({{"nvidia.com/gpumem", "24000"}})).empty());
  CHECK(desk.Warnings(PodJson({{"nvidia.com/gpu", "2"}, {"nvidia.com/gpumem", "16000"}})).empty());
}

TEST_CASE("A cluster that is full, ill, cordoned or quarantined could still serve the request one day") {
  Desk desk;
  auto node = Node("n").Gpu(16000);
  node.Last().healthy = false;
  node.Gpu(1000);
  node.Last().cordoned = true;
  desk.With(node);
  CHECK(desk.Warnings(PodJson({{"nvidia.com/gpumem", "16000"}})).empty());
  NodeObservation broken = Node("n").Version(2);
  broken.inventory_error = "cannot be read";
  desk.With(broken);
  CHECK(desk.Warnings(PodJson({{"nvidia.com/gpumem", "16000"}})).empty());
  CHECK(desk.Warnings(PodJson({{"nvidia.com/gpumem", "16001"}})).size() == 1);
}

TEST_CASE(
    "More than a quota allows in all is refused at once, more than it has left is told, quotas with scopes are left to the scheduler") {
  Desk desk;
  desk.With(Node("n").Gpus(2, 100000));
  QuotaObservation quota{.ns = "team",
                         .name = "q",
                         .limits = {{"limits.nvidia.com/gpumem", "nvidia", QuotaLimit::Of::kMemory, 4000}},
                         .scopes = {},
                         .error = ""};
  desk.cluster().ObserveQuota(quota);
  CHECK(desk.Warnings(PodJson({{"nvidia.com/gpumem", "4000"}})).empty());
  CHECK_THAT(desk.Refusal(PodJson({{"nvidia.com/gpu", "2"}, {"nvidia.com/gpumem", "2001"}})),
             Contains("ResourceQuota team/q: limits.nvidia.com/gpumem allows 4000 MiB in all, this pod alone asks for 4002"));
  auto taken = test::Bound("x", {.node = "n", .containers = {{.name = "m", .vendor = "nvidia", .shares = {{"n-gpu0", 3000, 0}}}}});
  taken.pod.ns = "team";
  taken.quota_usage = {{"nvidia", 3000, 0}};
  desk.cluster().ObservePod(taken);
  CHECK_THAT(OnlyWarning(desk, PodJson({{"nvidia.com/gpumem", "1001"}})), Contains("the pod will wait: ResourceQuota team/q"));
  quota.scopes = {{QuotaScope::Trait::kBestEffort, true, {}}};
  desk.cluster().ObserveQuota(quota);
  CHECK(desk.Created(PodJson({{"nvidia.com/gpumem", "5000"}})).is_object());
}

TEST_CASE("Containers that fit alone but never together are told so") {
  Desk desk;
  desk.With(Node("n").Gpus(1, 10000));
  auto pod = PodJson({{"nvidia.com/gpumem", "6000"}});
  auto second = pod["spec"]["containers"][0];
  second["name"] = "second";
  pod["spec"]["containers"].push_back(second);
  CHECK_THAT(OnlyWarning(desk, pod), Contains("not all of them together"));
}

TEST_CASE("A cluster without nodes, or without GPUs, is told, one that is not known yet is not judged") {
  Desk desk;
  const auto pod = PodJson({{"nvidia.com/gpumem", "1000"}});
  CHECK_THAT(OnlyWarning(desk, pod), Contains("no node is known"));
  desk.With(Node("cpu-only"));
  CHECK_THAT(OnlyWarning(desk, pod), Contains("publishes no GPUs") && Contains("cpu-only"));
  const auto named = PodJson({{"nvidia.com/gpumem", "1000"}}, {{"nvidia.com/use-gpuuuid", "GPU-00000000-0000-0000-0000-000000000000"}});
  CHECK(desk.Warnings(named).size() == 2);
  CHECK_FALSE(desk.Answer(test::ReviewJson(pod), false).contains("warnings"));
}

TEST_CASE("UUIDs and types that exist nowhere, and a type that stands for several models, are told") {
  Desk desk;
  desk.With(Node("n").Gpu(16000).Model("NVIDIA A10").Gpu(16000).Model("NVIDIA A100"));
  const auto warnings = [&](const char* key, const char* value) {
    return desk.Warnings(PodJson({{"nvidia.com/gpumem", "1000"}}, {{key, value}}));
  };
  const char* absent = "GPU-00000000-0000-0000-0000-000000000000";
  CHECK_THAT(warnings("nvidia.com/use-gpuuuid", absent).at(0), Contains("no node of the cluster has a device") && Contains(absent));
  CHECK(warnings("nvidia.com/nouse-gpuuuid", absent).size() == 1);
  CHECK_THAT(warnings("nvidia.com/use-gputype", "h100").at(0), Contains("\"h100\"; there are NVIDIA A10, NVIDIA A100"));
  CHECK_THAT(warnings("nvidia.com/use-gputype", "a10").at(0), Contains("stands for NVIDIA A10, NVIDIA A100"));
  CHECK(warnings("nvidia.com/use-gputype", "A100").empty());
  CHECK(warnings("nvidia.com/nouse-gputype", "A10").size() == 1);  // rules out every card
}

TEST_CASE("What the parser warns of comes along, and no warning is longer than the API server passes on") {
  Desk desk;
  desk.With(Node("n").Gpus(1, 16000));
  CHECK_THAT(OnlyWarning(desk, PodJson({{"nvidia.com/gpumem", "1000"}, {"nvidia.com/gpucores", "150"}})), Contains("counts as 100"));
  std::string uuids;
  for (int i = 10; i < 99; ++i) uuids += fmt::format("GPU-000000{}-0000-0000-0000-000000000000,", i);
  const auto pod =
      PodJson({{"nvidia.com/gpumem", "1000"}}, {{"nvidia.com/nouse-gpuuuid", uuids}, {"nvidia.com/nouse-gputype", std::string(500, 'x')}});
  std::size_t total = 0;
  for (const auto& warning : desk.Warnings(pod)) {
    CHECK(warning.size() <= 256);
    total += warning.size();
  }
  CHECK(total <= 4096);
  CHECK(total > 3000);
}

}  // namespace
}  // namespace partage::scheduler
