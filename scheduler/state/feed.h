// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "k8s/api/node.h"
#include "k8s/api/pod.h"
#include "scheduler/state/cluster.h"
#include "vendors/vendor.h"

namespace partage::scheduler {

/// What a Pod's annotations say it holds, ours first, else HAMi's (only when `hami.io/vgpu-node` is the pod's node). Fills usage or allocation_error:
/// a bound, unfinished pod that asks for devices but has no allocation, or an unreadable one, is an error (fail closed).
PodObservation Observe(const k8s::Pod& pod, const vendors::Catalog& vendors);

/// What a Node's annotations say it has: `partage.dev/inventory`, else HAMi's register annotation of each vendor.
NodeObservation Observe(const k8s::Node& node, const vendors::Catalog& vendors);

/// The request parser's view of a Pod.
vendors::PodInput ToParserInput(const k8s::Pod& pod);

}  // namespace partage::scheduler
