// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "k8s/api/binding.h"
#include "scheduler/state/cluster.h"
#include "vendors/vendor.h"

namespace partage::scheduler {

/// The Binding that gives a pod its node and its share in one write: always our own allocation annotation, and on a node whose inventory is HAMi's also
/// HAMi's (`hami.io/vgpu-node`, `vgpu-time`, `bind-phase`, `bind-time`, and each vendor's two device lists). `now` is for HAMi's two time stamps.
/// kInvalid when the annotations would be so large that the API server refuses later changes of the pod.
Result<k8s::Binding> MakeBinding(const Reservation& reservation, const vendors::Catalog& vendors, Clock::Wall now);

/// The Binding of a pod that takes nothing of ours.
k8s::Binding MakePlainBinding(const PodRef& pod, const std::string& node);

}  // namespace partage::scheduler
