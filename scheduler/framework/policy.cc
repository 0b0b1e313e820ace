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

}  // namespace partage::scheduler
