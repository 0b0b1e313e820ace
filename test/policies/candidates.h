// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "scheduler/framework/policy.h"

namespace partage::test {

/// The registered policy of this name, without arguments.
inline std::unique_ptr<scheduler::Policy> MakePolicy(std::string_view name) {
  const auto* spec = scheduler::PolicyRegistry::Find(name);
  PARTAGE_CHECK(spec != nullptr, "no such policy");
  auto policy = spec->make({});
  PARTAGE_CHECK(policy.has_value(), "the policy refuses to be made without arguments");
  return std::move(*policy);
}

/// Devices as a policy sees them: `Candidates().Numa(0).Numa(1).Link(0, 1, 120)`. The n-th added has position n.
class Candidates {
 public:
  Candidates& Numa(std::int32_t numa) {
    auto& device = *devices_.emplace_back(std::make_shared<device::Device>());
    device.numa = numa;
    device.index = static_cast<std::int32_t>(views_.size());
    views_.push_back({.device = &device, .position = device.index, .used = {}, .total = {.slots = 10, .mib = 10'000, .cores = 100}});
    return *this;
  }
  Candidates& Several(std::size_t count) {
    while (count-- > 0) Numa(0);
    return *this;
  }
  /// Use of the device added last.
  Candidates& Used(std::int64_t slots, std::int64_t mib, std::int64_t cores) {
    views_.back().used = {.slots = slots, .mib = mib, .cores = cores};
    return *this;
  }
  Candidates& Link(std::size_t a, std::size_t b, std::int32_t score) {
    for (auto& device : devices_) device->links.resize(devices_.size());
    devices_[a]->links[b] = devices_[b]->links[a] = score;
    return *this;
  }
  /// Only the end `from` publishes the score.
  Candidates& OneWay(std::size_t from, std::size_t to, std::int32_t score) {
    Link(from, to, score);
    devices_[to]->links[from] = 0;
    return *this;
  }

  std::vector<scheduler::DeviceView>& views() { return views_; }
  operator std::span<const scheduler::DeviceView>() const { return views_; }  // NOLINT: reads as the argument it is

 private:
  std::vector<std::shared_ptr<device::Device>> devices_;  // shared: a copy of this builder shows the same devices
  std::vector<scheduler::DeviceView> views_;
};

}  // namespace partage::test
