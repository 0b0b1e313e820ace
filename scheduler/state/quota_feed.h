// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "k8s/api/pod.h"
#include "k8s/api/resource_quota.h"
#include "scheduler/state/quota_ledger.h"
#include "vendors/vendor.h"

namespace partage::scheduler {

/// The part of a ResourceQuota that limits devices: keys `limits.` + a vendor's memory or cores resource, as HAMi's users write them. Every other key is
/// Kubernetes' own business. An amount that is no whole number, is negative, or can only be bytes, and a scope nobody knows, fill `error` (fail closed).
/// Pure, thread-safe.
QuotaObservation Observe(const k8s::ResourceQuota& quota, const vendors::Catalog& vendors);

/// What scopes ask of a pod.
device::QuotaTraits QuotaTraitsOf(const k8s::Pod& pod);

}  // namespace partage::scheduler
