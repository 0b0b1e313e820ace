// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "k8s/api/node.h"
#include "k8s/api/pod.h"
#include "scheduler/state/cluster.h"
#include "vendors/vendor.h"

namespace partage::scheduler {

// From what the API server says to what the ledger takes in. Pure functions, thread-safe. Annotation formats: docs/protocol.md.

/// What a Pod's annotations say it holds: `partage.dev/allocation`, else HAMi's list of each vendor. Both must name the node the pod runs on. Fills usage, or
/// allocation_error (fail closed) when an annotation cannot be read, or the pod asks a vendor for devices and carries nothing of that vendor.
/// A pod that is not bound, or has finished, uses nothing whatever it carries.
PodObservation Observe(const k8s::Pod& pod, const vendors::Catalog& vendors);

/// What a Node's annotations say it has: `partage.dev/inventory`, else HAMi's register annotation of each vendor. Neither: an empty inventory.
/// Fills inventory_error instead when an annotation cannot be read.
NodeObservation Observe(const k8s::Node& node, const vendors::Catalog& vendors);

/// The request parser's view of a Pod.
vendors::PodInput ToParserInput(const k8s::Pod& pod);

}  // namespace partage::scheduler
