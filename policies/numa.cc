// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>

#include "scheduler/framework/policy.h"

namespace partage::scheduler {
namespace {

using Places = std::vector<std::size_t>;

// Smallest first, so that larger groups stay whole for larger requests; then the one with the best-ranked candidate.
bool SmallerGroup(const Places& a, const Places& b) { return a.size() != b.size() ? a.size() < b.size() : a.front() < b.front(); }

/// Keeps the devices of one container on as few NUMA nodes as possible. A single device has no company: no opinion.
class FewNumaNodes final : public Policy {
 public:
  Places Choose(std::span<const DeviceView> candidates, std::size_t count) const override {
    if (count < 2) return {};
    std::map<std::int32_t, Places> by_numa;
    for (std::size_t i = 0; i < candidates.size(); ++i) by_numa[candidates[i].device->numa].push_back(i);
    std::vector<Places> groups;
    for (auto& [numa, places] : by_numa) groups.push_back(std::move(places));
    std::sort(groups.begin(), groups.end(), SmallerGroup);

    const auto holds_all = std::find_if(groups.begin(), groups.end(), [&](const Places& g) { return g.size() >= count; });
    Places chosen;
    for (auto end = holds_all == groups.end() ? holds_all : holds_all + 1; chosen.size() < count; --end) {
      const auto& group = *(end - 1);
      const auto take = std::min(count - chosen.size(), group.size());
      chosen.insert(chosen.end(), group.begin(), group.begin() + static_cast<std::ptrdiff_t>(take));
    }
    return chosen;
  }
};

constexpr PolicySpec kNuma{.name = "numa",
                           .summary = "keep a container's devices on as few NUMA nodes as possible",
                           .for_devices = true,
                           .make = &MakeWithoutArguments<FewNumaNodes>};
PARTAGE_REGISTER_POLICY(kNuma);

}  // namespace
}  // namespace partage::scheduler
