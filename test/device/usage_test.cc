// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <random>

#include "device/allocation.h"

namespace partage::device {
namespace {

using Kind = ContainerKind;

struct Part {
  Kind kind;
  std::int32_t mib;
  std::int32_t cores;
};

DeviceUsage Total(const std::vector<Part>& parts) {
  UsageAccumulator usage;
  for (const auto& part : parts) usage.Add(part.kind, part.mib, part.cores);
  return usage.Total();
}

// What really runs at one time, moment by moment, and the greatest of it.
DeviceUsage PeakOfTimeline(const std::vector<Part>& parts) {
  DeviceUsage running, peak;
  const auto start = [&](const Part& part) {
    running = {running.slots + 1, running.mib + part.mib, running.cores + part.cores, running.exclusive || part.cores >= 100};
    peak = {std::max(peak.slots, running.slots), std::max(peak.mib, running.mib), std::max(peak.cores, running.cores),
            peak.exclusive || running.exclusive};
  };
  for (const auto& part : parts) {
    if (part.kind == Kind::kApp) continue;
    const auto before = running;
    start(part);
    if (part.kind == Kind::kInit) running = before;
  }
  for (const auto& part : parts) {
    if (part.kind == Kind::kApp) start(part);
  }
  return peak;
}

TEST_CASE("App containers add up") {
  CHECK(Total({{Kind::kApp, 1000, 10}, {Kind::kApp, 2000, 20}}) == DeviceUsage{.slots = 2, .mib = 3000, .cores = 30});
}

TEST_CASE("Init containers run one after another, so only the largest counts") {
  CHECK(Total({{Kind::kInit, 5000, 10}, {Kind::kInit, 3000, 50}, {Kind::kApp, 4000, 20}}) ==
        DeviceUsage{.slots = 1, .mib = 5000, .cores = 50});
}

TEST_CASE("A sidecar runs beside the app containers and beside later init containers") {
  CHECK(Total({{Kind::kSidecar, 1000, 5}, {Kind::kApp, 2000, 10}}) == DeviceUsage{.slots = 2, .mib = 3000, .cores = 15});
  CHECK(Total({{Kind::kSidecar, 1000, 0}, {Kind::kInit, 5000, 0}, {Kind::kApp, 2000, 0}}).mib == 6000);
  CHECK(Total({{Kind::kInit, 5000, 0}, {Kind::kSidecar, 1000, 0}, {Kind::kApp, 2000, 0}}).mib == 5000);
}

TEST_CASE("One exclusive share makes the use exclusive") {
  CHECK(Total({{Kind::kInit, 1, 100}, {Kind::kApp, 1, 10}}).exclusive);
  CHECK_FALSE(Total({{Kind::kApp, 1, 60}, {Kind::kApp, 1, 60}}).exclusive);
}

TEST_CASE("Sums of hostile numbers saturate") {
  constexpr auto kMax = std::numeric_limits<std::int32_t>::max();
  CHECK(Total({{Kind::kApp, kMax, 100'000}, {Kind::kApp, kMax, 100'000}, {Kind::kSidecar, kMax, 0}}).mib == kMax);
}

TEST_CASE("The formula is the greatest use at any moment of the pod's life") {
  std::mt19937 random(3);
  for (int round = 0; round < 20'000; ++round) {
    std::vector<Part> parts;
    for (auto i = random() % 5; i > 0; --i)
      parts.push_back({random() % 2 ? Kind::kInit : Kind::kSidecar, int(random() % 100), int(random() % 101)});
    for (auto i = random() % 4; i > 0; --i) parts.push_back({Kind::kApp, int(random() % 100), int(random() % 101)});
    REQUIRE(Total(parts) == PeakOfTimeline(parts));
  }
}

TEST_CASE("Usage is collapsed per device and sorted by UUID") {
  const Allocation allocation{.node = "n1",
                              .containers = {{"warm", Kind::kInit, -1, "nvidia", {{"GPU-b", 8000, 0}}},
                                             {"main", Kind::kApp, -1, "nvidia", {{"GPU-b", 3000, 30}, {"GPU-a", 3000, 30}}},
                                             {"idle", Kind::kApp, -1, "", {}},
                                             {"side", Kind::kApp, -1, "nvidia", {{"GPU-b", 1000, 10}}}}};
  const std::vector<UuidUsage> expected{{"GPU-a", {.slots = 1, .mib = 3000, .cores = 30}},
                                        {"GPU-b", {.slots = 2, .mib = 8000, .cores = 40}}};
  CHECK(CollapseUsage(allocation) == expected);
  CHECK(CollapseUsage({}).empty());
}

}  // namespace
}  // namespace partage::device
