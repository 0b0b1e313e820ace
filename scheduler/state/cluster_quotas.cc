// SPDX-License-Identifier: Apache-2.0
// What watches say of quotas.
#include "scheduler/state/cluster_impl.h"

namespace partage::scheduler {

void Cluster::Impl::ObserveQuota(QuotaObservation quota) {
  MutexLock lock(mutex_);
  quotas_.Observe(std::move(quota));
}

void Cluster::Impl::ForgetQuota(std::string_view ns, std::string_view name) {
  MutexLock lock(mutex_);
  quotas_.Forget(ns, name);
}

void Cluster::Impl::BeginQuotaList() {
  MutexLock lock(mutex_);
  quotas_.BeginList();
}

void Cluster::Impl::EndQuotaList() {
  MutexLock lock(mutex_);
  quotas_.EndList();
}

}  // namespace partage::scheduler
