// SPDX-License-Identifier: Apache-2.0
// The contract of a placement policy, and the registry that finds policies. The only thing policies/*.cc see of the scheduler.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "device/device.h"
#include "device/request.h"

namespace partage::scheduler {

/// Slots, MiB and percent of compute: capacity, use, or what a request would add.
struct Amount {
  std::int64_t slots = 0;
  std::int64_t mib = 0;
  std::int64_t cores = 0;
  bool operator==(const Amount&) const = default;
};

/// One node as policies see it: sums over all its devices, without the pod in question.
struct NodeView {
  Amount used;
  Amount total;
};

/// One device as policies see it: `used` includes what other containers of the same pod were just given.
struct DeviceView {
  const device::Device* device = nullptr;
  std::int32_t position = 0;  ///< in NodeInventory::devices, the index of Device::links
  Amount used;
  Amount total;
};

/// Higher is better; any finite value. Compared, never added up across policies. Ties fall to the next policy, then to the name or index.
using Score = double;

/// Ranks nodes, ranks devices of a node, rules devices out, or chooses a set of devices: a policy overrides what it needs.
/// Immutable after construction, thread-safe, pure: the same arguments give the same answer; no time, files, threads or randomness.
/// A call costs below a microsecond.
class Policy {
 public:
  virtual ~Policy() = default;

  /// How much this node is wanted for a pod that would add `demand` to it.
  virtual Score RankNode(const NodeView& node, const Amount& demand, const device::ScoringWeights& weights) const;

  /// How much this device is wanted for one share of `demand`.
  virtual Score RankDevice(const DeviceView& device, const Amount& demand, const device::ScoringWeights& weights) const;

  /// False rules a device out for this pod whatever its room.
  virtual bool Admits(const DeviceView& device) const;

  /// Chooses `count` of `candidates` (all fit, best first by rank; candidates.size() ≥ count ≥ 1). Returns their places in `candidates`,
  /// or nothing to leave the choice to the next policy of the chain and at last to rank.
  virtual std::vector<std::size_t> Choose(std::span<const DeviceView> candidates, std::size_t count) const;
};

/// Arguments from the configuration: name → text.
using PolicyArgs = std::map<std::string, std::string, std::less<>>;

/// For policies without arguments: kInvalid names the first one given.
Result<> RejectArguments(const PolicyArgs& args);

/// PolicySpec::make of a policy without arguments.
template <class P>
Result<std::unique_ptr<Policy>> MakeWithoutArguments(const PolicyArgs& args) {
  if (auto none = RejectArguments(args); !none) return Fail(none.error());
  return std::make_unique<P>();
}

/// What a policy says of itself.
struct PolicySpec {
  std::string_view name;
  std::string_view summary;                                                   ///< one line for --list-policies and the docs
  bool for_nodes = false;                                                     ///< may be used as node policy
  bool for_devices = false;                                                   ///< may be used as device policy
  bool restricts = false;                                                     ///< overrides Admits
  Result<std::unique_ptr<Policy>> (*make)(const PolicyArgs& args) = nullptr;  ///< kInvalid names an unknown argument
};

/// All policies linked into the program, by name. Filled before main by PARTAGE_REGISTER_POLICY, read-only after; two of one name abort at start.
class PolicyRegistry {
 public:
  static const std::map<std::string_view, PolicySpec>& All();
  /// nullptr when there is none.
  static const PolicySpec* Find(std::string_view name);
  static bool Register(const PolicySpec& spec);
};

#define PARTAGE_REGISTER_POLICY(spec) [[maybe_unused]] const bool kRegistered_##spec = ::partage::scheduler::PolicyRegistry::Register(spec)

/// How full something is with the demand added, the score HAMi documents: Σ over slots, cores and memory of weight × (used + demand) ÷ total.
/// A part without capacity counts 0.
inline Score Fullness(const Amount& used, const Amount& total, const Amount& demand, const device::ScoringWeights& weights) {
  const auto part = [](std::int32_t weight, std::int64_t taken, std::int64_t more, std::int64_t all) {
    return all <= 0 ? 0 : weight * (static_cast<Score>(taken) + static_cast<Score>(more)) / static_cast<Score>(all);
  };
  return part(weights.slot, used.slots, demand.slots, total.slots) + part(weights.core, used.cores, demand.cores, total.cores) +
         part(weights.memory, used.mib, demand.mib, total.mib);
}

}  // namespace partage::scheduler
