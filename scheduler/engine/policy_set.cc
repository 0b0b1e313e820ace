// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/policy_set.h"

#include <fmt/ranges.h>

#include "base/check.h"
#include "scheduler/engine/engine.h"
#include "vendors/vendor.h"

namespace partage::scheduler {
namespace {

Result<> RequireOneOf(std::string_view kind, const std::string& name, const std::vector<std::string>& known) {
  for (const auto& candidate : known) {
    if (candidate == name) return {};
  }
  return Fail(Code::kInvalid, "{} policy \"{}\" does not exist; known: {}", kind, name, fmt::join(known, ", "));
}

}  // namespace

vendors::PolicyNames RegisteredPolicyNames() {
  vendors::PolicyNames names;
  for (const auto& [name, spec] : PolicyRegistry::All()) {
    if (spec.for_nodes) names.node.emplace_back(name);
    if (spec.for_devices) names.device.emplace_back(name);
  }
  return names;
}

Result<PolicySet> PolicySet::Make(const std::string& node_policy, const std::vector<std::string>& device_policies) {
  const vendors::PolicyNames known = RegisteredPolicyNames();
  if (auto ok = RequireOneOf("node", node_policy, known.node); !ok) return Fail(ok.error());
  for (const auto& name : device_policies) {
    if (auto ok = RequireOneOf("device", name, known.device); !ok) return Fail(ok.error());
  }
  PolicySet set;
  set.node_default_ = node_policy;
  set.device_defaults_ = device_policies;
  for (const auto& [name, spec] : PolicyRegistry::All()) {
    auto policy = spec.make({});
    if (!policy) return Fail(policy.error(), fmt::format("policy {}", name));
    set.policies_.emplace(name, Entry{spec, std::move(*policy)});
  }
  return set;
}

PolicyChain PolicySet::For(const device::PodRequest& request) const {
  const auto find = [&](std::string_view name) -> const Entry& {
    const auto found = policies_.find(name);
    PARTAGE_CHECK(found != policies_.end(), "the parser lets only registered policies through");
    return found->second;
  };
  PolicyChain chain;
  chain.node = find(NodePolicyOf(request)).policy.get();
  for (const auto& name : DevicePoliciesOf(request)) {
    const Entry& entry = find(name);
    chain.devices.push_back(entry.policy.get());
    chain.restricts |= entry.spec.restricts;
  }
  return chain;
}

}  // namespace partage::scheduler
