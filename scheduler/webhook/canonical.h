// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "device/request.h"
#include "scheduler/webhook/review.h"
#include "vendors/vendor.h"

namespace partage::scheduler {

/// The steps that write a pod's request out in full, so that kubelet, quotas and people see what the scheduler counts: a device count where only memory or
/// compute was asked for, the compute of a whole card, configured defaults; and what stands only among the requests, among the limits as well, where
/// Kubernetes wants extended resources. The result parses to the same request; none for a pod that is written in full already. Pure.
/// REQUIRES: `request` was parsed from the review's pod.
std::vector<PatchStep> CanonicalPatch(const Review& review, const device::PodRequest& request, const vendors::Catalog& vendors);

}  // namespace partage::scheduler
