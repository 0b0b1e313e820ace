// SPDX-License-Identifier: Apache-2.0
// The fields of a Pod that Partage uses. Everything else of the document is never kept.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace partage::k8s {

/// Annotation or resource map.
using StringMap = std::map<std::string, std::string, std::less<>>;

struct Container {
  std::string name;
  bool restart_always = false;  ///< init containers only: a native sidecar
  /// Extended resources only (names with a '/'), quantities as written.
  StringMap limits, requests;
};

struct Pod {
  std::string ns, name, uid;
  std::uint64_t resource_version = 0;  ///< 0 when absent or not a decimal number
  StringMap annotations;
  bool deleting = false;  ///< metadata.deletionTimestamp is set
  std::string node_name;  ///< spec.nodeName; empty: not bound
  std::string scheduler_name;
  std::vector<Container> init_containers, containers;
  /// The pod states a soft preference that kube-scheduler's own scores answer: preferred node affinity, preferred pod (anti-)affinity,
  /// or a ScheduleAnyway topology spread constraint.
  bool has_soft_preferences = false;
  std::int32_t priority = 0;    ///< spec.priority
  bool never_preempts = false;  ///< spec.preemptionPolicy is Never
  std::uint32_t created = 0;    ///< metadata.creationTimestamp in seconds since 1970; 0 when absent or not a time
  std::string phase;            ///< status.phase
  std::string nominated_node;   ///< status.nominatedNodeName

  /// Succeeded or Failed: its containers will never run again.
  bool terminal() const { return phase == "Succeeded" || phase == "Failed"; }
  /// "ns/name", for messages.
  std::string FullName() const { return ns + "/" + name; }
};

}  // namespace partage::k8s
