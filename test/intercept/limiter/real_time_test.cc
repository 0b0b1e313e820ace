// SPDX-License-Identifier: Apache-2.0
// The accuracy of docs/limiter.md with what ships, in real time: what the fake GPU gave, over the time that it was there. The simulator's table is stricter and
// longer; this one shows that the library in a process behaves like it.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <memory>
#include <numeric>
#include <vector>

#include "test/intercept/limiter/containers.h"

namespace partage::test {
namespace {

constexpr std::uint32_t kCaps[] = {10, 25, 50, 75, 90};

/// One container for each cap, each alone on a GPU of its own, all at the same time.
class Row {
 public:
  explicit Row(const Load& load) {
    for (const std::uint32_t cap : kCaps) {
      gpus_.push_back(std::make_unique<Containers>());
      gpus_.back()->Start(gpus_.back()->Add({.cores = cap}), load);
    }
  }

  /// Percent that each has over so much time from now on.
  std::vector<double> Over(std::int64_t ms) {
    std::vector<Containers::Moment> from;
    std::vector<double> percent;
    for (const auto& gpu : gpus_) from.push_back(gpu->Now());
    SleepMs(ms);
    for (std::size_t i = 0; i < gpus_.size(); ++i) percent.push_back(Containers::Percent(0, from[i], gpus_[i]->Now()));
    return percent;
  }
  std::vector<double> OfWholeKernels(std::int64_t from_ns) {
    std::vector<double> percent;
    for (const auto& gpu : gpus_) percent.push_back(gpu->PercentOfWholeKernels(0, from_ns));
    return percent;
  }

 private:
  std::vector<std::unique_ptr<Containers>> gpus_;
};

/// A process that this machine stops for longer than a container may save up (10 ms of GPU time) has lost its share of that time, so too little is measured
/// again. Too much is always wrong.
constexpr int kTurns = 5;
constexpr double kBelow = 1, kAbove = 1.5;  // points; what was saved is one of them in a second

/// Whether nobody had too little. Nobody may have too much.
template <class Caps>
bool HaveTheirShare(const char* load, const Caps& caps, const std::vector<double>& percent) {
  bool good = true;
  std::printf("%-24s", load);
  for (std::size_t i = 0; i < percent.size(); ++i) {
    std::printf(" %6.2f", percent[i]);
    INFO(load << ", cap " << caps[i] << ", got " << percent[i]);
    CHECK(percent[i] <= caps[i] + kAbove);
    good = good && percent[i] >= caps[i] - kBelow;
  }
  std::printf("\n");
  return good;
}

TEST_CASE("Caps from 10 to 90 percent hold for kernels of 20 us to 200 ms, bursts and graphs") {
  const std::int64_t begin = NowNs();
  Row longest({.kernel = "200ms"});
  for (const auto& [name, load, ms] : {std::tuple{"20 us", Load{.kernel = "20us"}, 1000},
                                       {"1 ms", Load{.kernel = "1ms"}, 1000},
                                       {"20 ms", Load{.kernel = "20ms"}, 2000},
                                       {"bursts of 100 x 0.5 ms", Load{.kernel = "500us", .burst = 100}, 2000},
                                       {"graphs of 7 x 1 ms", Load{.kernel = "1ms", .graph = 7}, 1000}}) {
    Row row(load);
    SleepMs(400);
    bool good = false;
    for (int turn = 0; turn < kTurns && !good; ++turn) good = HaveTheirShare(name, kCaps, row.Over(ms));
    INFO(name);
    CHECK(good);
  }
  SleepUntil(begin + 11'000'000'000);
  CHECK(HaveTheirShare("200 ms", kCaps, longest.OfWholeKernels(begin + 1'000'000'000)));
}

TEST_CASE("Busy containers have the shares they were promised without an agent, and together nearly the whole GPU") {
  const std::vector<std::uint32_t> sets[] = {{30, 70}, {10, 90}, {25, 25, 25, 25}};
  for (const char* kernel : {"20us", "200us", "1ms"}) {
    for (const auto& caps : sets) {
      Containers node;
      for (const std::uint32_t cap : caps) node.Start(node.Add({.cores = cap}), {.kernel = kernel});
      SleepMs(1000);  // what launches cost is learned
      bool good = false;
      for (int turn = 0; turn < kTurns && !good; ++turn) {
        const Containers::Moment from = node.Now();
        SleepMs(1000);
        const Containers::Moment to = node.Now();
        std::vector<double> percent;
        for (int i = 0; i < node.count(); ++i) percent.push_back(Containers::Percent(i, from, to));
        good = HaveTheirShare(kernel, caps, percent) && std::accumulate(percent.begin(), percent.end(), 0.0) >= 97;
      }
      INFO("kernels of " << kernel << ", " << caps.size() << " containers, the first of " << caps[0]);
      CHECK(good);
    }
  }
}

}  // namespace
}  // namespace partage::test
