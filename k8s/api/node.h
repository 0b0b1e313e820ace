// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "k8s/api/pod.h"

namespace partage::k8s {

/// The fields of a Node that Partage uses.
struct Node {
  std::string name, uid;
  std::uint64_t resource_version = 0;
  StringMap annotations;
  StringMap allocatable;  ///< status.allocatable, extended resources only, quantities as written
};

}  // namespace partage::k8s
