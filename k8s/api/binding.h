// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/clock.h"
#include "k8s/api/pod.h"

namespace partage::k8s {

/// A request to bind one pod: POST …/pods/{name}/binding. The API server merges `annotations` (and, from 1.35 on, `labels`) into the pod in the same
/// storage write that sets spec.nodeName, and refuses (409) when the live pod's UID is not `uid`.
struct Binding {
  std::string ns, name, uid, node;
  StringMap annotations;
  StringMap labels;                          ///< values of at most 63 characters: the API server does not check them here
  Clock::Mono send_by = Clock::Mono::max();  ///< not part of the document: the request is never sent later
};

/// The v1 Binding document.
std::string EncodeBinding(const Binding& binding);

}  // namespace partage::k8s
