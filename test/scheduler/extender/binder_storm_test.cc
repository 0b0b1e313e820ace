// SPDX-License-Identifier: Apache-2.0
#include <random>

#include <catch2/catch.hpp>

#include "device/allocation_codec.h"
#include "test/scheduler/extender/rig.h"

namespace partage::scheduler {
namespace {

using namespace std::chrono_literals;
using test::Fate;
using test::Node;
using test::Rig;
using test::UnboundPod;

constexpr int kPods = 64;
constexpr int kGpus = 8;
constexpr int kGpuMib = 81920;
constexpr int kPodMib = 16000;  // five fit on a GPU, 40 on the node

// MiB the API server's own pods hold, by device: the truth that the ledger must match.
std::map<std::string, std::int64_t> HeldMib(const std::vector<k8s::Pod>& pods) {
  std::map<std::string, std::int64_t> held;
  for (const k8s::Pod& pod : pods) {
    if (pod.node_name.empty()) continue;
    const auto allocation = device::DecodeAllocation(pod.annotations.at("partage.dev/allocation")).value();
    for (const auto& [uuid, usage] : device::CollapseUsage(allocation)) held[uuid] += usage.mib;
  }
  return held;
}

std::size_t BoundPods(const std::vector<k8s::Pod>& pods) {
  return static_cast<std::size_t>(std::count_if(pods.begin(), pods.end(), [](const k8s::Pod& pod) { return !pod.node_name.empty(); }));
}

std::vector<std::future<Result<>>> StartAll(Rig& rig) {
  rig.With(Node("n1").Gpus(kGpus, kGpuMib));
  for (int i = 0; i < kPods; ++i) rig.With(UnboundPod("p" + std::to_string(i), kPodMib));
  std::vector<std::future<Result<>>> answers;
  for (int i = 0; i < kPods; ++i) answers.push_back(rig.Start("p" + std::to_string(i), "n1"));
  return answers;
}

void CheckTruth(Rig& rig) {
  const auto pods = rig.api().pods();
  for (const auto& [uuid, mib] : HeldMib(pods)) CHECK(mib <= kGpuMib);
  rig.CheckLedger(BoundPods(pods), 0);
}

TEST_CASE("Binds that race for one node take exactly what fits") {
  Rig rig({.workers = 16, .deadline = test::kBindDeadline});
  auto answers = StartAll(rig);
  int bound = 0;
  for (auto& answer : answers) {
    const auto result = rig.Await(answer);
    bound += result.has_value();
    if (!result) CHECK(result.error().code == Code::kConflict);
  }
  CHECK(bound == 40);
  CHECK(rig.api().writes().size() == 40);
  CheckTruth(rig);
}

TEST_CASE("Binds that race for one node on a failing API server leave the ledger equal to the truth") {
  std::mt19937 random(GENERATE(1u, 2u, 3u, 4u));
  Rig rig({.workers = 8});
  const std::vector<Fate> fates = {Fate::kServe, Fate::kThrottle, Fate::kLoseRequest, Fate::kLoseReply, Fate::kComesLate};
  rig.api().Fates([&] { return fates[random() % fates.size()]; }, [&] { return fates[random() % 2]; });
  auto answers = StartAll(rig);
  std::size_t said_bound = 0;
  for (auto& answer : answers) said_bound += rig.Await(answer).has_value();
  rig.api().Fates([] { return Fate::kServe; }, [] { return Fate::kServe; });
  rig.PassTimeUntil([&] { return rig.cluster().counts().reserved == 0; });
  CHECK(BoundPods(rig.api().pods()) >= said_bound);
  CheckTruth(rig);
}

}  // namespace
}  // namespace partage::scheduler
