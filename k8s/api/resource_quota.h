// SPDX-License-Identifier: Apache-2.0
// The fields of a ResourceQuota (core/v1) that Partage uses.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "k8s/api/pod.h"

namespace partage::k8s {

/// One condition on the pods a quota counts. An entry of spec.scopes is one with `Exists`.
struct ScopeRequirement {
  std::string scope;  ///< "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity"
  std::string op;     ///< "In", "NotIn", "Exists", "DoesNotExist"
  std::vector<std::string> values;
  bool operator==(const ScopeRequirement&) const = default;
};

struct ResourceQuota {
  std::string ns, name, uid;
  std::uint64_t resource_version = 0;    ///< 0 when absent or not a decimal number
  StringMap hard;                        ///< spec.hard: keys with a '/' only, quantities as written
  std::vector<ScopeRequirement> scopes;  ///< all must hold

  /// "ns/name", for messages.
  std::string FullName() const { return ns + "/" + name; }
};

}  // namespace partage::k8s
