// SPDX-License-Identifier: Apache-2.0
#include "scheduler/state/cluster.h"

#include "scheduler/state/cluster_impl.h"

namespace partage::scheduler {

Cluster::Cluster(const Clock& clock) : impl_(std::make_unique<Impl>(clock)) {}
Cluster::~Cluster() = default;
std::shared_ptr<const Snapshot> Cluster::snapshot() const { return impl_->snapshot(); }
void Cluster::ObserveNode(NodeObservation node) { impl_->ObserveNode(std::move(node)); }
void Cluster::ForgetNode(std::string_view name, std::uint64_t resource_version) { impl_->ForgetNode(name, resource_version); }
void Cluster::ObservePod(PodObservation pod) { impl_->ObservePod(std::move(pod)); }
void Cluster::ForgetPod(const PodRef& pod) { impl_->ForgetPod(pod); }
void Cluster::BeginNodeList() { impl_->BeginNodeList(); }
void Cluster::EndNodeList() { impl_->EndNodeList(); }
void Cluster::BeginPodList() { impl_->BeginPodList(); }
void Cluster::EndPodList() { impl_->EndPodList(); }
void Cluster::Publish() { impl_->Publish(); }
void Cluster::ObserveQuota(QuotaObservation quota) { impl_->ObserveQuota(std::move(quota)); }
void Cluster::ForgetQuota(std::string_view ns, std::string_view name) { impl_->ForgetQuota(ns, name); }
void Cluster::BeginQuotaList() { impl_->BeginQuotaList(); }
void Cluster::EndQuotaList() { impl_->EndQuotaList(); }
Result<> Cluster::Nominate(const PodRef& pod, std::string_view node, std::chrono::milliseconds ttl, const Placer& place,
                           const device::QuotaTraits& traits) {
  return impl_->Nominate(pod, node, ttl, place, traits);
}
void Cluster::DropNominal(const PodRef& pod) { impl_->DropNominal(pod); }
std::optional<std::string> Cluster::NominalNode(const PodRef& pod) const { return impl_->NominalNode(pod); }
Result<> Cluster::Claim(const PodRef& pod, std::string_view node, std::chrono::milliseconds ttl, std::span<const PodUid> leaving,
                        const Placer& place, const device::QuotaTraits& traits) {
  return impl_->Claim(pod, node, ttl, leaving, place, traits);
}
bool Cluster::RenewClaim(const PodRef& pod, std::chrono::milliseconds ttl) { return impl_->RenewClaim(pod, ttl); }
void Cluster::DropClaim(const PodRef& pod) { impl_->DropClaim(pod); }
std::optional<std::string> Cluster::ClaimedNode(const PodRef& pod) const { return impl_->ClaimedNode(pod); }
std::optional<std::string> Cluster::NodeWithRipeClaim(std::span<const std::string> nodes) const { return impl_->NodeWithRipeClaim(nodes); }
void Cluster::NoteEvicted(const PodUid& uid) { impl_->NoteEvicted(uid); }
std::optional<Cluster::Tenancy> Cluster::Inspect(std::string_view node) const { return impl_->Inspect(node); }
std::optional<PodRef> Cluster::Who(const PodUid& uid) const { return impl_->Who(uid); }
std::int32_t Cluster::lowest_priority() const { return impl_->lowest_priority(); }
std::size_t Cluster::ExpireNominals() { return impl_->ExpireNominals(); }
std::optional<std::string> Cluster::QuotaRefusal(std::string_view ns, const device::QuotaTraits& traits,
                                                 const device::Allocation& allocation) const {
  return impl_->QuotaRefusal(ns, traits, allocation);
}
Result<Reservation> Cluster::Reserve(const PodRef& pod, std::string_view node, const Placer& place, const device::QuotaTraits& traits) {
  return impl_->Reserve(*this, pod, node, place, traits);
}
std::optional<std::string> Cluster::QuotaRefusal(std::string_view ns, const device::PodRequest& request) const {
  return impl_->QuotaRefusal(ns, request);
}
std::optional<std::string> Cluster::QuotaRefusalAlone(std::string_view ns, const device::PodRequest& request) const {
  return impl_->QuotaRefusalAlone(ns, request);
}
bool Cluster::StillFits(const PodRef& pod) { return impl_->StillFits(pod); }
std::optional<device::Allocation> Cluster::InFlight(const PodRef& pod) const { return impl_->InFlight(pod); }
void Cluster::Settle(const PodRef& pod, bool bound) { impl_->Settle(pod, bound); }
Cluster::Doubts Cluster::DoubtfulPods() { return impl_->DoubtfulPods(); }
void Cluster::ConfirmPod(const PodRef& pod, std::uint64_t list) { impl_->ConfirmPod(pod, list); }
std::vector<std::string> Cluster::TakeFreedNodes() { return impl_->TakeFreedNodes(); }
bool Cluster::TakeFreedQuota() { return impl_->TakeFreedQuota(); }
void Cluster::VisitQuotas(const std::function<void(const QuotaLedger::Entry&)>& visit) const { impl_->VisitQuotas(visit); }
Cluster::Counts Cluster::counts() const { return impl_->counts(); }
void Cluster::VisitPods(std::string_view node, const std::function<void(const PodEntry&)>& visit) const { impl_->VisitPods(node, visit); }
Result<> Cluster::CheckInvariants() const { return impl_->CheckInvariants(); }

Reservation::Reservation(Cluster& cluster, PodRef pod, device::Allocation allocation, device::NodeInventory::Dialect dialect)
    : cluster_(&cluster), pod_(std::move(pod)), allocation_(std::move(allocation)), dialect_(dialect) {}

Reservation::Reservation(Reservation&& other) noexcept
    : cluster_(std::exchange(other.cluster_, nullptr)),
      pod_(std::move(other.pod_)),
      allocation_(std::move(other.allocation_)),
      dialect_(other.dialect_) {}

Reservation::~Reservation() {
  if (cluster_ != nullptr) cluster_->Settle(pod_, false);
}

void Reservation::Commit() {
  if (cluster_ != nullptr) std::exchange(cluster_, nullptr)->Settle(pod_, true);
}

void Reservation::LeaveUnresolved() { cluster_ = nullptr; }

}  // namespace partage::scheduler
