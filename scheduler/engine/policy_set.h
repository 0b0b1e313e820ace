// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "device/request.h"
#include "scheduler/engine/ask.h"
#include "scheduler/framework/policy.h"

namespace partage::scheduler {

/// One instance of every registered policy, and the configured defaults. Immutable; thread-safe.
class PolicySet {
 public:
  /// kInvalid: a default is not registered, or not of the right kind; the message lists those that are.
  static Result<PolicySet> Make(const std::string& node_policy, const std::vector<std::string>& device_policies);

  /// The policies that decide for this pod. REQUIRES: names in the request are registered (the parser checked).
  PolicyChain For(const device::PodRequest& request) const;
  /// Their names: the node policy, and the device policies in their order.
  const std::string& NodePolicyOf(const device::PodRequest& request) const {
    return request.node_policy ? *request.node_policy : node_default_;
  }
  const std::vector<std::string>& DevicePoliciesOf(const device::PodRequest& request) const {
    return request.device_policies.empty() ? device_defaults_ : request.device_policies;
  }

 private:
  struct Entry {
    PolicySpec spec;
    std::unique_ptr<Policy> policy;
  };
  std::map<std::string, Entry, std::less<>> policies_;
  std::string node_default_;
  std::vector<std::string> device_defaults_;
};

}  // namespace partage::scheduler
