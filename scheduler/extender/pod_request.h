// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "base/result.h"
#include "device/request.h"
#include "k8s/api/pod.h"
#include "scheduler/state/cluster.h"
#include "vendors/vendor.h"

namespace partage::scheduler {

PodRef RefOf(const k8s::Pod& pod);

/// What a Pod asks of us. Immutable, thread-safe. `vendors` must outlive it.
class PodRequests {
 public:
  explicit PodRequests(const vendors::Catalog& vendors);

  /// nullptr: nothing, it is not our pod. kInvalid: something that cannot be served, see vendors::Catalog::Parse.
  Result<std::shared_ptr<const device::PodRequest>> Of(const k8s::Pod& pod) const;

 private:
  const vendors::Catalog& vendors_;
  const vendors::PolicyNames policies_;
};

}  // namespace partage::scheduler
