// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>

#include "scheduler/framework/policy.h"

namespace partage::scheduler {
namespace {

using Candidates = std::span<const DeviceView>;
using Places = std::vector<std::size_t>;
using Sum = std::int64_t;

Sum OneWay(const DeviceView& from, const DeviceView& to) {
  const auto& links = from.device->links;
  const auto place = static_cast<std::size_t>(to.position);
  return place < links.size() ? links[place] : 0;
}

// Nodes publish a pair from both ends; where one end is silent the other counts.
Sum Link(const DeviceView& a, const DeviceView& b) { return std::max(OneWay(a, b), OneWay(b, a)); }

Sum LinksTo(Candidates candidates, const Places& places, std::size_t other) {
  return std::accumulate(places.begin(), places.end(), Sum{0}, [&](Sum sum, std::size_t place) {
    return place == other ? sum : sum + Link(candidates[place], candidates[other]);
  });
}

Places All(Candidates candidates) {
  Places all(candidates.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  return all;
}

// The device whose loss hurts the remaining sets least.
Places LeastConnected(Candidates candidates) {
  const Places all = All(candidates);
  return {*std::min_element(all.begin(), all.end(),
                            [&](std::size_t a, std::size_t b) { return LinksTo(candidates, all, a) < LinksTo(candidates, all, b); })};
}

/// Visits every subset of `count` candidates in rank order and keeps the first with the greatest sum of links.
class BestSubset {
 public:
  BestSubset(Candidates candidates, std::size_t count) : candidates_(candidates), count_(count) { Extend(0, 0); }
  const Places& places() const { return best_; }

 private:
  void Extend(std::size_t next, Sum sum) {
    if (current_.size() == count_) {
      if (best_.empty() || sum > best_sum_) best_ = current_, best_sum_ = sum;
      return;
    }
    for (; next + (count_ - current_.size()) <= candidates_.size(); ++next) {
      const Sum gain = LinksTo(candidates_, current_, next);
      current_.push_back(next);
      Extend(next + 1, sum + gain);
      current_.pop_back();
    }
  }

  Candidates candidates_;
  std::size_t count_;
  Places current_, best_;
  Sum best_sum_ = 0;
};

// Too many subsets to look at all: the best pair, then always the device with the strongest links to those taken.
Places GrowSubset(Candidates candidates, std::size_t count) {
  Places chosen = BestSubset(candidates, 2).places();
  Places rest = All(candidates);
  std::vector<Sum> gain(candidates.size());
  for (const auto place : rest) gain[place] = LinksTo(candidates, chosen, place);
  std::erase_if(rest, [&](std::size_t place) { return place == chosen[0] || place == chosen[1]; });
  while (chosen.size() < count) {
    const auto best = std::max_element(rest.begin(), rest.end(), [&](std::size_t a, std::size_t b) { return gain[a] < gain[b]; });
    const auto taken = *best;
    rest.erase(best);
    chosen.push_back(taken);
    for (const auto place : rest) gain[place] += Link(candidates[taken], candidates[place]);
  }
  return chosen;
}

// Every subset of up to 16 devices (at most 12,870 of 8), and small subsets of more.
bool MayTryAll(std::size_t candidates, std::size_t count) {
  constexpr double kMostSteps = 16 * 13'000;
  double subsets = 1;
  for (std::size_t i = 0; i < count && subsets <= kMostSteps; ++i) {
    subsets = subsets * static_cast<double>(candidates - i) / static_cast<double>(i + 1);
  }
  return subsets * static_cast<double>(count) <= kMostSteps;
}

/// Several devices: the set with the strongest links between them. One device: the one that the sets left over miss least.
class StrongestLinks final : public Policy {
 public:
  Places Choose(Candidates candidates, std::size_t count) const override {
    const bool no_links = std::all_of(candidates.begin(), candidates.end(), [](const DeviceView& c) { return c.device->links.empty(); });
    if (no_links) return {};
    if (count == candidates.size()) return All(candidates);
    if (count == 1) return LeastConnected(candidates);
    return MayTryAll(candidates.size(), count) ? BestSubset(candidates, count).places() : GrowSubset(candidates, count);
  }
};

constexpr PolicySpec kTopologyAware{.name = "topology-aware",
                                    .summary = "the best-linked set of devices; for one device the one that others miss least",
                                    .for_devices = true,
                                    .make = &MakeWithoutArguments<StrongestLinks>};
PARTAGE_REGISTER_POLICY(kTopologyAware);

}  // namespace
}  // namespace partage::scheduler
