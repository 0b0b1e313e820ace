// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/clock.h"

namespace partage::k8s {

/// A request to evict one pod: POST …/pods/{name}/eviction. The API server refuses (409) when the live pod's UID is not `uid`, and (429) when a
/// PodDisruptionBudget forbids it; otherwise it deletes the pod, with the pod's own grace period.
struct Eviction {
  std::string ns, name, uid;
  bool dry_run = false;                      ///< everything is checked, nothing is done
  Clock::Mono send_by = Clock::Mono::max();  ///< not part of the document: the request is never sent later
};

/// The policy/v1 Eviction document.
std::string EncodeEviction(const Eviction& eviction);

}  // namespace partage::k8s
