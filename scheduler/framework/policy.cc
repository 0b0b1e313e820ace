// SPDX-License-Identifier: Apache-2.0

#include "scheduler/framework/policy.h"

#include "base/check.h"
#include "base/text.h"

namespace partage::scheduler {
namespace {

std::map<std::string_view, PolicySpec>& Registered() {
  static std::map<std::string_view, PolicySpec> policies;  // in a function: registration runs before main in any order
  return policies;
}

Score Part(std::int32_t weight, std::int64_t used, std::int64_t demand, std::int64_t total) {
  if (total <= 0) return 0;
  return weight * (static_cast<Score>(used) + static_cast<Score>(demand)) / static_cast<Score>(total);
}

}  // namespace

Score Policy::RankNode(const NodeView&, const Amount&, const device::ScoringWeights&) const { return 0; }
Score Policy::RankDevice(const DeviceView&, const Amount&, const device::ScoringWeights&) const { return 0; }
bool Policy::Admits(const DeviceView&) const { return true; }
std::vector<std::size_t> Policy::Choose(std::span<const DeviceView>, std::size_t) const { return {}; }

const std::map<std::string_view, PolicySpec>& PolicyRegistry::All() { return Registered(); }

const PolicySpec* PolicyRegistry::Find(std::string_view name) {
  const auto found = Registered().find(name);
  return found == Registered().end() ? nullptr : &found->second;
}

bool PolicyRegistry::Register(const PolicySpec& spec) {
  PARTAGE_CHECK(!spec.name.empty() && spec.make != nullptr, "a policy needs a name and a factory");
  PARTAGE_CHECK(spec.for_nodes || spec.for_devices, "a policy is for nodes, devices or both");
  PARTAGE_CHECK(Registered().emplace(spec.name, spec).second, "two policies have the same name");
  return true;
}

Result<> RejectArguments(const PolicyArgs& args) {
  if (args.empty()) return {};
  return Fail(Code::kInvalid, "unknown argument {}: this policy takes none", Quoted(args.begin()->first));
}

Score Fullness(const Amount& used, const Amount& total, const Amount& demand, const device::ScoringWeights& weights) {
  return Part(weights.slot, used.slots, demand.slots, total.slots) + Part(weights.core, used.cores, demand.cores, total.cores) +
         Part(weights.memory, used.mib, demand.mib, total.mib);
}

}  // namespace partage::scheduler
