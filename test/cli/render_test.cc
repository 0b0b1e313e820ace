// SPDX-License-Identifier: Apache-2.0
#include "cli/render.h"

#include "test/support/golden.h"

namespace partage::cli {
namespace {

DeviceState Gpu(int index, std::int64_t used_mib, std::int64_t used_cores) {
  DeviceState device;
  device.uuid = "GPU-" + std::to_string(index);
  device.model = "NVIDIA A100-SXM4-80GB";
  device.mode = "shared";
  device.index = index;
  device.slots = {10, used_mib > 0 ? 1 : 0};
  device.mib = {81920, used_mib};
  device.cores = {100, used_cores};
  return device;
}

PodState Holder(const std::string& name, const std::string& uid, std::vector<ShareState> shares) {
  return {"team", name, uid, "bound", std::move(shares), ""};
}

ClusterState Example() {
  NodeState busy{"a100-1", "", {Gpu(0, 40960, 30), Gpu(1, 81920, 100), Gpu(2, 0, 0)}, {}};
  busy.devices[2].healthy = false;
  busy.pods = {Holder("notebook", "u1", {{"GPU-0", 40960, 30, false}}), Holder("train", "u2", {{"GPU-1", 81920, 100, true}})};
  busy.pods.push_back({"team", "coming", "u3", "nominal", {{"GPU-0", 0, 0, false}}, ""});
  NodeState odd{"odd", "its inventory cannot be read", {}, {{"team", "lost", "u4", "bound", {}, "partage.dev/allocation is not JSON"}}};
  return {{busy, odd}, {{"team", "huge", "needs 90000 MiB, the largest device has 81920"}}};
}

TEST_CASE("The state shows nodes, bars, holders and those who wait") {
  test::CheckGolden(PARTAGE_GOLDEN_DIR "/state.txt", RenderState(Example(), Painter(false)));
}

TEST_CASE("The state in colour") { test::CheckGolden(PARTAGE_GOLDEN_DIR "/state_colour.txt", RenderState(Example(), Painter(true))); }

TEST_CASE("An empty cluster is said to be empty") { CHECK(RenderState({}, Painter(false)) == "no nodes\n"); }

TEST_CASE("Submitted pods show what they got, or why not") {
  std::vector<Submission> submissions;
  submissions.push_back({{"team", "notebook", "u1", "1 × 40 GiB", ""}, {"a100-1", {}, ""}});
  submissions.push_back({{"team", "train", "u2", "1 × card", ""}, {"a100-1", {}, ""}});
  CycleOutcome refused;
  refused.refusals["too small"] = {"n1", "n2", "n3", "n4", "n5"};
  refused.refusals["not a GPU node"] = {"cpu"};
  submissions.push_back({{"team", "huge", "u5", "1 × 87.9 GiB", ""}, refused});
  submissions.push_back({{"team", "wrong", "u6", "1 × 16Gi", ""}, {"", {}, "nvidia.com/gpumem \"16Gi\" is not a number of MiB"}});
  test::CheckGolden(PARTAGE_GOLDEN_DIR "/submissions.txt", RenderSubmissions(submissions, Example(), Painter(false)));
}

}  // namespace
}  // namespace partage::cli
