// SPDX-License-Identifier: Apache-2.0
// The accuracy table: caps × kernels on the simulated GPU, with the code that the library runs. Printed, and held to its bounds.
#include <catch2/catch.hpp>
#include <cstdio>
#include <memory>

#include "test/intercept/limiter/sim_node.h"

namespace partage::test {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kRun = 30 * kSecond;
constexpr int kCaps[] = {10, 25, 50, 75, 90};

struct Load {
  const char* name;
  Program program;
  double within_1s;  // points off the cap that any second may be; 0: longer than a second can tell
};

const Load kLoads[] = {
    {"kernels of 20 us", programs::Stream(20'000), 3},
    {"kernels of 1 ms", programs::Stream(1'000'000), 3},
    {"kernels of 10 ms", programs::Stream(10'000'000), 3},
    {"kernels of 20 ms", programs::Stream(20'000'000), 0},
    {"kernels of 200 ms", programs::Stream(200'000'000), 0},
    {"1 ms, synchronous", programs::Synchronous(1'000'000, 20'000), 3},
    {"bursts of 40 x 0.5 ms", programs::Bursts(500'000, 40, 1'000'000), 3},
    {"graphs of 7 ms", programs::Graphs(7'000'000), 3},
};

struct Result {
  double mean;
  Errors second, ten_seconds;
};

Result Measure(int cap, const Load& load, bool agent) {
  SimNode node;
  SimTenant& tenant = node.Add(cap, {load.program});
  tenant.policy.policy = limiter::CorePolicy::kForce;  // alone on the GPU, and held to the cap all the same
  if (agent) node.StartAgent();
  node.Run(kRun);
  return {node.Percent(tenant, 0, kRun), ErrorsOver(node, tenant, cap, kSecond, kRun), ErrorsOver(node, tenant, cap, 10 * kSecond, kRun)};
}

void CheckTable(bool agent) {
  std::printf("Percent of the GPU, %s\n", agent ? "with the agent's trim" : "library alone");
  std::printf("%-22s %4s %7s | %s\n", "load", "cap", "mean", "error over 1 s: mean, worst | over 10 s: mean, worst");
  for (const Load& load : kLoads) {
    for (int cap : kCaps) {
      const Result result = Measure(cap, load, agent);
      const Errors &second = result.second, &ten = result.ten_seconds;
      std::printf("%-22s %4d %7.2f | %6.2f %6.2f | %6.2f %6.2f\n", load.name, cap, result.mean, second.mean, second.worst, ten.mean,
                  ten.worst);
      INFO(load.name << ", cap " << cap << ", mean " << result.mean << ", worst 10 s " << ten.worst << ", worst 1 s " << second.worst);
      CHECK(std::abs(result.mean - cap) <= 1);
      CHECK(ten.mean <= 1);
      // A kernel of 200 ms is 2 points of ten seconds: whether one more fits into a window is not the limiter's choice.
      CHECK(ten.worst <= (load.program().ns >= 200'000'000 ? 2.5 : 1));
      if (load.within_1s > 0) CHECK(second.worst <= load.within_1s);
    }
  }
}

TEST_CASE("Alone on the GPU a container gets its cap, whatever it launches", "[minutes]") { CheckTable(false); }
TEST_CASE("The agent's correction does not disturb what is exact", "[minutes]") { CheckTable(true); }

// Which launches are measured is chance, so one run in some dozens is a little off: judged over several seeds.
TEST_CASE("Durations that vary from launch to launch average out when the agent says that nobody else runs") {
  constexpr uint32_t kSeeds = 8;
  for (int cap : kCaps) {
    double percent = 0, error = 0;
    for (uint32_t seed = 1; seed <= kSeeds; ++seed) {
      SimNode node(0, seed);
      SimTenant& tenant = node.Add(cap, {programs::Mixed(seed * 100 + static_cast<uint32_t>(cap))});
      tenant.policy.policy = limiter::CorePolicy::kForce;
      node.StartAgent();
      node.Run(kRun);
      percent += node.Percent(tenant, 0, kRun) / kSeeds;
      error += ErrorsOver(node, tenant, cap, 10 * kSecond, kRun).mean / kSeeds;
    }
    INFO("cap " << cap);
    CHECK(std::abs(percent - cap) <= 1);
    CHECK(error <= 1);
  }
}

TEST_CASE("A simulation repeats itself to the last digit") {
  const auto run = [] {
    SimNode node;
    SimTenant& tenant = node.Add(40, {programs::Mixed(3), programs::Stream(50'000, 1)});
    node.StartAgent();
    node.Run(10 * kSecond);
    return node.Percent(tenant, 0, 10 * kSecond);
  };
  const double first = run();
  const auto elsewhere = std::make_unique<char[]>(1 << 20);  // moves what the second one allocates
  CHECK(run() == first);
}

TEST_CASE("Costs that events get wrong by a third are corrected by the trim") {
  for (double bias : {0.7, 1.4}) {
    SimNode node;
    SimTenant& tenant = node.Add(30, {programs::Stream(300'000)});
    tenant.policy.policy = limiter::CorePolicy::kForce;
    tenant.cost_bias = bias;
    node.StartAgent();
    node.Run(60 * kSecond);
    INFO("bias " << bias);
    CHECK(node.Percent(tenant, 10 * kSecond, 50 * kSecond) == Approx(30).margin(1));
  }
}

TEST_CASE("Several processes and threads of a container share one cap") {
  SimNode node;
  SimTenant& tenant = node.Add(40, {programs::Stream(50'000, 1), programs::Stream(900'000, 2)});
  for (int i = 0; i < 3; ++i) node.AddProcess(tenant, {programs::Synchronous(300'000, 100'000), programs::Stream(20'000, 1)});
  node.Run(kRun);
  CHECK(node.Percent(tenant, 5 * kSecond, 20 * kSecond) == Approx(40).margin(1));
  CHECK(ErrorsOver(node, tenant, 40, kSecond, kRun).worst <= 3);
}

}  // namespace
}  // namespace partage::test
