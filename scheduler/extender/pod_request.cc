// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/pod_request.h"

#include "scheduler/engine/engine.h"
#include "scheduler/state/feed.h"
#include "scheduler/state/quota_feed.h"

namespace partage::scheduler {

PodRef RefOf(const k8s::Pod& pod) { return {pod.ns, pod.name, pod.uid, pod.priority}; }

PodRequests::PodRequests(const vendors::Catalog& vendors) : vendors_(vendors), policies_(RegisteredPolicyNames()) {}

Result<std::shared_ptr<const device::PodRequest>> PodRequests::Of(const k8s::Pod& pod) const {
  const vendors::PodInput input = ToParserInput(pod);
  if (!vendors_.Wants(input)) return nullptr;
  auto request = vendors_.Parse(input, policies_);
  if (!request) return Fail(request.error());
  if (!request->wants_devices()) return nullptr;
  request->quota_traits = QuotaTraitsOf(pod);
  return std::make_shared<const device::PodRequest>(*std::move(request));
}

}  // namespace partage::scheduler
