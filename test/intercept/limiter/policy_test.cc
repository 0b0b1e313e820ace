// SPDX-License-Identifier: Apache-2.0
// Which limit on compute holds, whoever sets it: a file, variables, an agent that lends or is gone; and that neither a fork nor a hidden process number
// loses it. Each container alone on a GPU of its own, all at the same time, judged by what that GPU gave.
#include <catch2/catch.hpp>
#include <cstdio>
#include <memory>
#include <vector>

#include "test/intercept/limiter/containers.h"

namespace partage::test {
namespace {

using shm::CorePolicy;

constexpr double kAll = 100;

struct Case {
  const char* name;
  Containers::Share share;
  double percent;  ///< what it may have
  const char* profile = "";
  Load load = {};
};

/// Whether a container that has at most its percent has it: a process that this machine stopped for long is measured again.
bool Have(const std::vector<Case>& cases, const std::vector<std::unique_ptr<Containers>>& gpus) {
  std::vector<Containers::Moment> from;
  for (const auto& gpu : gpus) from.push_back(gpu->Now());
  SleepMs(1000);
  bool good = true;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const double percent = Containers::Percent(0, from[i], gpus[i]->Now());
    std::printf("%-52s %6.2f of %.0f\n", cases[i].name, percent, cases[i].percent);
    INFO(cases[i].name);
    CHECK(percent <= cases[i].percent + 1.5);
    good = good && percent >= cases[i].percent - (cases[i].percent > 90 ? 5 : 1);
  }
  return good;
}

/// `agent` makes one for a container that is about to start, or none.
template <class MakeAgent>
void Judge(const std::vector<Case>& cases, MakeAgent&& agent) {
  std::vector<std::unique_ptr<Containers>> gpus;
  std::vector<std::unique_ptr<Voice>> agents;
  for (const Case& each : cases) {
    gpus.push_back(std::make_unique<Containers>(std::string("queue 8; ") + each.profile));
    const int container = gpus.back()->Add(each.share);
    agents.push_back(agent(*gpus.back()));
    gpus.back()->Start(container, each.load);
  }
  SleepMs(400);
  bool good = false;
  for (int turn = 0; turn < 5 && !good; ++turn) good = Have(cases, gpus);
  CHECK(good);
}

std::unique_ptr<Voice> NoAgent(Containers&) { return nullptr; }

TEST_CASE("Variables alone limit compute, under policy default and force, and not under disable") {
  const auto with = [](std::map<std::string, std::string> variables) {
    return Containers::Share{.variables = std::move(variables), .file = false};
  };
  Judge({{"CUDA_DEVICE_SM_LIMIT", with({{"CUDA_DEVICE_SM_LIMIT", "30"}}), 30},
         {"CUDA_DEVICE_SM_LIMIT_0 before it", with({{"CUDA_DEVICE_SM_LIMIT", "30"}, {"CUDA_DEVICE_SM_LIMIT_0", "45"}}), 45},
         {"of another device", with({{"CUDA_DEVICE_SM_LIMIT_1", "45"}}), kAll},
         {"policy default", with({{"CUDA_DEVICE_SM_LIMIT", "30"}, {"GPU_CORE_UTILIZATION_POLICY", "default"}}), 30},
         {"policy force", with({{"CUDA_DEVICE_SM_LIMIT", "30"}, {"GPU_CORE_UTILIZATION_POLICY", "FORCE"}}), 30},
         {"policy disable", with({{"CUDA_DEVICE_SM_LIMIT", "30"}, {"GPU_CORE_UTILIZATION_POLICY", "disable"}}), kAll},
         {"no limit", with({{"CUDA_DEVICE_SM_LIMIT", "100"}, {"CUDA_DEVICE_MEMORY_LIMIT", "2g"}}), kAll}},
        NoAgent);
}

TEST_CASE("Variables only lower what a file grants of compute") {
  const auto over = [](std::uint32_t cores, CorePolicy policy, std::map<std::string, std::string> variables) {
    return Containers::Share{.cores = cores, .policy = policy, .variables = std::move(variables)};
  };
  Judge({{"lower", over(50, CorePolicy::kDefault, {{"CUDA_DEVICE_SM_LIMIT", "20"}}), 20},
         {"higher", over(50, CorePolicy::kDefault, {{"CUDA_DEVICE_SM_LIMIT", "80"}}), 50},
         {"none", over(50, CorePolicy::kDefault, {{"CUDA_DEVICE_SM_LIMIT", "0"}}), 50},
         {"disable over default", over(50, CorePolicy::kDefault, {{"GPU_CORE_UTILIZATION_POLICY", "disable"}}), 50},
         {"force over disable", over(50, CorePolicy::kDisable, {{"GPU_CORE_UTILIZATION_POLICY", "force"}}), 50},
         {"CUDA_DISABLE_CONTROL", over(50, CorePolicy::kDefault, {{"CUDA_DISABLE_CONTROL", "true"}}), 50}},
        NoAgent);
}

TEST_CASE("What an agent lends is used under policy default and not under force, and nothing is lent by an agent that is gone") {
  Judge({{"default", {.cores = 25}, 90},
         {"force", {.cores = 25, .policy = CorePolicy::kForce}, 25},
         {"force by a variable", {.cores = 25, .variables = {{"GPU_CORE_UTILIZATION_POLICY", "force"}}}, 25}},
        [](Containers& node) {
          auto agent = std::make_unique<Voice>(node, 0);
          agent->line().rate_ppm = 900'000;
          return agent;
        });
  Judge({{"default, no agent any more", {.cores = 25}, 25},
         {"force, no agent any more", {.cores = 25, .policy = CorePolicy::kForce}, 25},
         {"disable, no agent any more", {.cores = 25, .policy = CorePolicy::kDisable}, kAll}},
        [](Containers& node) {
          node.agent_line(0).rate_ppm = 900'000;
          node.agent_line(0).stamp_ns = static_cast<std::uint64_t>(NowNs()) - 2'000'000'000;
          return NoAgent(node);
        });
}

TEST_CASE("A forked child is held to the limit, alone and together with its parent, and so is a process whose number NVML does not show") {
  Judge({{"the child of a fork", {.cores = 25}, 25, "", {.forks = Load::kChildLaunches}},
         {"parent and child together", {.cores = 25}, 25, "", {.forks = Load::kBothLaunch}},
         {"processes hidden", {.cores = 25}, 25, "host_pids hidden"},
         {"processes of another namespace", {.cores = 25}, 25, "host_pids offset 100000"},
         {"a child whose number is hidden", {.cores = 25}, 25, "host_pids hidden", {.forks = Load::kChildLaunches}}},
        NoAgent);
}

}  // namespace
}  // namespace partage::test
