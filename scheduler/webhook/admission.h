// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "scheduler/engine/engine.h"
#include "scheduler/extender/pod_request.h"
#include "scheduler/webhook/review.h"
#include "vendors/vendor.h"

namespace partage::scheduler {

struct AdmissionOptions {
  std::string
      scheduler_name;  ///< given to pods that ask for our devices and name no scheduler of their own; empty: pods keep what they have
};

/// Judges pods that are about to be created. It changes nothing but its answer, so that a dry run is answered like any other request. Thread-safe.
/// Everything passed in must outlive it.
///
/// In this order: not the creation of a pod, opted out, or nothing of ours asked: allowed untouched. Another scheduler named: allowed untouched, with a
/// warning. A request that cannot be served, a malformed UUID, a node chosen beforehand, a privileged container,
/// more than a quota of the namespace allows in all: refused with the way out. Else allowed, written out in
/// full (CanonicalPatch), with warnings about what the cluster does not have.
class Admission {
 public:
  Admission(Engine& engine, const vendors::Catalog& vendors, AdmissionOptions options);

  /// `cluster_known` false: nothing is said about the cluster's devices.
  Verdict Judge(const Review& review, bool cluster_known) const;

 private:
  Result<> Check(const Review& review, const device::PodRequest& request) const;
  Verdict Allow(const Review& review, const device::PodRequest& request, bool cluster_known) const;
  bool NamesAnotherScheduler(const k8s::Pod& pod) const;
  void WarnOfCluster(const device::PodRequest& request, std::vector<std::string>& warnings) const;

  Engine& engine_;
  const vendors::Catalog& vendors_;
  const PodRequests requests_;
  const AdmissionOptions options_;
};

}  // namespace partage::scheduler
