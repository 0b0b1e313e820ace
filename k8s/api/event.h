// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace partage::k8s {

/// A v1 Event about a pod. The first time it is created; the next times its count and its last time are patched.
struct Event {
  std::string ns, name;  ///< its own; the namespace is the pod's
  std::string pod_name, pod_uid;
  std::string type;  ///< "Normal" or "Warning"
  std::string reason, action, message;
  std::string component, instance;    ///< who says it
  std::string first_time, last_time;  ///< as Kubernetes writes them, to the second
  int count = 1;
  bool created = false;  ///< not part of the document: the API server has it already, with a lower count
};

/// The whole document.
std::string EncodeEvent(const Event& event);
/// The merge patch that says it has happened again.
std::string EncodeEventRepeated(const Event& event);

}  // namespace partage::k8s
