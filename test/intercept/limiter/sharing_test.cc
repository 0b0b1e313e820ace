// SPDX-License-Identifier: Apache-2.0
// Containers that share the simulated GPU: shares, idle time lent and taken back, priorities, nobody starved.
#include <catch2/catch.hpp>
#include <cstdio>

#include "test/intercept/limiter/sim_node.h"

namespace partage::test {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSecond = 1'000 * kMs;
constexpr int64_t kSwitchNs = 5'000;  // what handing the GPU from one context to another takes

struct Load {
  const char* name;
  Program program;
};
const Load kLoads[] = {{"20 us", programs::Stream(20'000)},
                       {"1 ms", programs::Stream(1'000'000)},
                       {"7 ms graphs", programs::Graphs(7'000'000)},
                       {"20 ms", programs::Stream(20'000'000)},
                       {"20 ms synchronous", programs::Synchronous(20'000'000, 50'000)}};

/// Percent of the GPU that all tenants together get when nobody is limited.
double Uncapped(size_t tenants, const Program& program) {
  SimNode node(kSwitchNs);
  for (size_t i = 0; i < tenants; ++i) node.Add(0, {program});
  node.Run(20 * kSecond);
  double total = 0;
  for (const SimTenant& tenant : node.tenants) total += node.Percent(tenant, kSecond, 19 * kSecond);
  return total;
}

void CheckShares(const std::vector<int>& caps, const Load& load) {
  SimNode node(kSwitchNs);
  for (int cap : caps) node.Add(cap, {load.program});
  node.StartAgent();
  node.Run(70 * kSecond);
  double total = 0;
  std::printf("%-18s", load.name);
  for (const SimTenant& tenant : node.tenants) {
    const double percent = node.Percent(tenant, 10 * kSecond, 60 * kSecond);
    std::printf("  %2d: %5.2f", tenant.policy.cores_percent, percent);
    INFO(load.name << ", cap " << tenant.policy.cores_percent << ", got " << percent);
    CHECK(percent == Approx(tenant.policy.cores_percent).margin(1));
    total += percent;
  }
  const double whole = Uncapped(caps.size(), load.program);
  std::printf("  together %.1f %% of uncapped\n", 100 * total / whole);
  INFO(load.name << ", together " << total << " of " << whole);
  CHECK(total >= 0.97 * whole);
}

TEST_CASE("Busy neighbours get the shares they were promised, and together nearly the whole GPU", "[minutes]") {
  const std::vector<int> sets[] = {{30, 70}, {10, 90}, {25, 25, 25, 25}};
  for (const auto& caps : sets) {
    for (const Load& load : kLoads) CheckShares(caps, load);
  }
}

TEST_CASE("Unlike neighbours get their shares too") {
  SimNode node(kSwitchNs);
  SimTenant& short_ones = node.Add(40, {programs::Stream(20'000)});
  SimTenant& long_ones = node.Add(60, {programs::Stream(20'000'000)});
  node.StartAgent();
  node.Run(70 * kSecond);
  CHECK(node.Percent(short_ones, 10 * kSecond, 60 * kSecond) == Approx(40).margin(1));
  CHECK(node.Percent(long_ones, 10 * kSecond, 60 * kSecond) == Approx(60).margin(1));
}

TEST_CASE("Without an agent, kernels up to a time slice are shared as promised, and together use nearly the whole GPU", "[minutes]") {
  const std::vector<int> sets[] = {{30, 70}, {10, 90}, {25, 25, 25, 25}};
  for (const auto& caps : sets) {
    for (int64_t kernel_ns : {20'000, 200'000, 1'000'000}) {
      SimNode node(kSwitchNs);
      for (int cap : caps) node.Add(cap, {programs::Stream(kernel_ns)});
      node.Run(30 * kSecond);
      double total = 0;
      for (const SimTenant& tenant : node.tenants) {
        const double percent = node.Percent(tenant, 5 * kSecond, 25 * kSecond);
        INFO("kernels of " << kernel_ns << " ns, cap " << tenant.policy.cores_percent);
        CHECK(percent == Approx(tenant.policy.cores_percent).margin(1));
        total += percent;
      }
      CHECK(total >= 0.97 * Uncapped(caps.size(), programs::Stream(kernel_ns)));
    }
  }
}

TEST_CASE("Without an agent, longer kernels get no more than was promised, and never less than a third of it") {
  const std::vector<int> sets[] = {{30, 70}, {10, 90}, {25, 25, 25, 25}};
  for (const auto& caps : sets) {
    for (int64_t kernel_ns : {5'000'000, 20'000'000}) {
      SimNode node(kSwitchNs);
      for (int cap : caps) node.Add(cap, {programs::Stream(kernel_ns)});
      node.Run(60 * kSecond);
      std::printf("no agent, %2d ms   ", static_cast<int>(kernel_ns / kMs));
      for (const SimTenant& tenant : node.tenants) {
        const double percent = node.Percent(tenant, 20 * kSecond, 40 * kSecond);
        std::printf("  %2d: %5.2f", tenant.policy.cores_percent, percent);
        INFO("kernels of " << kernel_ns << " ns, cap " << tenant.policy.cores_percent);
        CHECK(percent <= tenant.policy.cores_percent + 1);
        CHECK(percent >= tenant.policy.cores_percent / 3.0);
      }
      std::printf("\n");
    }
  }
}

TEST_CASE("A soft container uses what its idle neighbour leaves, and gives it back within 20 ms") {
  SimNode node(kSwitchNs);
  SimTenant& soft = node.Add(30, {programs::Stream(1'000'000)});
  soft.policy.soft = true;
  SimTenant& owner = node.Add(70, {programs::During(node.agenda, programs::Stream(1'000'000), 5 * kSecond, 8 * kSecond)});
  node.StartAgent();
  node.Run(12 * kSecond);
  CHECK(node.Percent(soft, 2 * kSecond, 3 * kSecond) >= 96);
  // From 20 ms after its first launch on, the owner has its share, and what came before was not less than half.
  CHECK(node.Percent(owner, 5 * kSecond + 20 * kMs, 200 * kMs) >= 68);
  CHECK(node.Percent(owner, 5 * kSecond, 20 * kMs) >= 40);
  CHECK(node.Percent(soft, 5 * kSecond + 20 * kMs, 2 * kSecond) <= 32);
  CHECK(node.Percent(soft, 8 * kSecond + 200 * kMs, 3 * kSecond) >= 96);
}

TEST_CASE("Priority 0 has the GPU within 100 ms, and priority 1 goes on a little") {
  SimNode node(kSwitchNs);
  SimTenant& low = node.Add(50, {programs::Stream(2'000'000)});
  SimTenant& high = node.Add(90, {programs::During(node.agenda, programs::Stream(2'000'000), 4 * kSecond, 7 * kSecond)});
  high.policy.priority = 0;
  node.StartAgent();
  node.Run(10 * kSecond);
  CHECK(node.Percent(low, 2 * kSecond, 2 * kSecond) >= 90);
  CHECK(node.Percent(high, 4 * kSecond + 100 * kMs, 2 * kSecond) >= 88);
  const double left = node.Percent(low, 4 * kSecond + 100 * kMs, 2 * kSecond);
  CHECK(left <= 3);
  CHECK(left > 0);
  CHECK(node.Percent(low, 7 * kSecond + 100 * kMs, 2 * kSecond) >= 90);
}

TEST_CASE("After a time without limits every container runs again, however deep its queue was") {
  SimNode node(kSwitchNs);
  for (uint32_t i = 0; i < 4; ++i) node.Add(25, {programs::Mixed(i)}).share.grant_ppm = limiter::kUnlimited;
  node.Run(50 * kMs);
  for (SimTenant& tenant : node.tenants) tenant.share.grant_ppm = limiter::kNoGrant;
  node.Run(60 * kSecond);
  for (const SimTenant& tenant : node.tenants) CHECK(node.Percent(tenant, 50 * kSecond, 10 * kSecond) > 5);
}

TEST_CASE("Eight containers of all kinds run side by side without one starving") {
  SimNode node(kSwitchNs);
  for (int64_t ns : {20'000, 100'000, 500'000, 1'000'000, 5'000'000, 20'000'000}) node.Add(10, {programs::Stream(ns)});
  node.Add(20, {programs::Bursts(500'000, 10, 2'000'000)});
  node.Add(20, {programs::Mixed(5)});
  node.StartAgent();
  node.Run(60 * kSecond);
  for (const SimTenant& tenant : node.tenants) {
    INFO(tenant.name);
    CHECK(node.Percent(tenant, 20 * kSecond, 40 * kSecond) >= 0.85 * tenant.policy.cores_percent);
    CHECK(tenant.longest_wait_ns < 2 * kSecond);
  }
}

}  // namespace
}  // namespace partage::test
