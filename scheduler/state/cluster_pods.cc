// SPDX-License-Identifier: Apache-2.0
// What watches say of pods.
#include <algorithm>

#include "scheduler/state/cluster_impl.h"

namespace partage::scheduler {
namespace {

using ShareState = Cluster::ShareState;

}  // namespace

std::vector<device::UuidUsage> Cluster::Impl::UsageOf(const PodRecord& record) const {
  std::vector<device::UuidUsage> usage;
  const auto& devices = table_.info(record.node).inventory.devices;
  for (const auto& [position, amount] : record.shares) usage.push_back({devices[position].uuid, amount});
  if (record.trouble) usage.insert(usage.end(), record.trouble->unmatched.begin(), record.trouble->unmatched.end());
  std::sort(usage.begin(), usage.end(), [](const auto& a, const auto& b) { return a.uuid < b.uuid; });
  return usage;
}

// Puts usage on the node's devices; what does not match stays with the record as trouble and quarantines the node.
void Cluster::Impl::Match(PodRecord& record, const std::vector<device::UuidUsage>& usage, const std::string& error) {
  auto trouble = std::make_unique<PodRecord::Trouble>();
  trouble->error = error;
  const auto& inventory = table_.info(record.node).inventory;
  std::vector<PositionUsage> shares;
  for (const auto& [uuid, amount] : usage) {
    const std::int32_t position = inventory.Find(uuid);
    if (position < 0) {
      trouble->unmatched.push_back({uuid, amount});
    } else {
      shares.push_back({static_cast<std::uint32_t>(position), amount});
    }
  }
  table_.Apply(record.node, shares, +1);
  record.shares.assign(shares.begin(), shares.end());
  record.trouble.reset();
  if (!error.empty() || !trouble->unmatched.empty()) {
    record.trouble = std::move(trouble);
    ++NodeOf(record.node).troubled_pods;
  }
}

PodRecord& Cluster::Impl::Put(const PodRef& pod, NodeId node, ShareState state, const std::vector<device::UuidUsage>& usage,
                              const std::string& error, std::uint64_t version) {
  PodRecord& record = pods_.Insert(PodUid(pod.uid), PodName(pod.ns, pod.name), node);
  record.state = state;
  record.resource_version = version;
  record.touched = ++sequence_;
  record.priority = pod.priority;
  lowest_priority_ = std::min(lowest_priority_.load(), pod.priority);
  NodeOf(node);
  Match(record, usage, error);
  if (record.trouble) RefreshQuarantine(node);
  return record;
}

// What may change about a pod whose share stays.
void Cluster::Impl::NoteAbout(PodRecord& record, const PodObservation& seen) {
  record.resource_version = std::max(record.resource_version, seen.resource_version);
  record.touched = record.read = ++sequence_;
  record.priority = seen.pod.priority;
  lowest_priority_ = std::min(lowest_priority_.load(), seen.pod.priority);
  record.created = seen.created;
  record.terminating = record.terminating || seen.terminating;
}

// Gives back whatever the pod holds. False when it held nothing.
bool Cluster::Impl::Remove(const PodUid& uid) {
  PodRecord* record = pods_.Find(uid);
  if (record == nullptr) return false;
  const NodeId node = record->node;
  table_.Apply(node, {record->shares.begin(), record->shares.end()}, -1);
  quotas_.GiveBack(uid, record->charge);
  const bool troubled = record->trouble != nullptr;
  pods_.Erase(uid);
  nominal_.erase(uid);
  reserved_.erase(uid);
  MarkFreed(node);
  if (troubled) {
    --nodes_[node].troubled_pods;
    RefreshQuarantine(node);
  }
  DropIfEmpty(node);
  return true;
}

bool Cluster::Impl::SameShare(const PodRecord& record, const PodObservation& pod) const {
  return record.state == ShareState::kBound && table_.Name(record.node) == pod.node &&
         (record.trouble ? record.trouble->error : "") == pod.allocation_error && UsageOf(record) == pod.usage &&
         quotas_.HasTraits(record.charge, pod.quota_traits);
}

void Cluster::Impl::ObservePod(PodObservation seen) {
  MutexLock lock(mutex_);
  const PodUid uid(seen.pod.uid);
  if (pods_.buried(uid)) return;
  PodRecord* record = pods_.Find(uid);
  if (record != nullptr && Older(seen.resource_version, record->resource_version)) {
    record->touched = ++sequence_;
    return;
  }
  if (seen.finished) {
    Remove(uid);
    pods_.Bury(uid);
    return;
  }
  // Not bound: news only of a pod we know nothing of. Of one that holds a share it is an echo from before its Binding.
  if (seen.node.empty()) {
    if (record != nullptr) record->touched = ++sequence_;
    return;
  }
  if (seen.usage.empty() && seen.allocation_error.empty()) {
    Remove(uid);
    return;
  }
  std::sort(seen.usage.begin(), seen.usage.end(), [](const auto& a, const auto& b) { return a.uuid < b.uuid; });
  if (record != nullptr && SameShare(*record, seen)) {
    NoteAbout(*record, seen);
    return;
  }
  const bool evicted = record != nullptr && record->terminating;
  Remove(uid);
  PodRecord& fresh = Put(seen.pod, table_.Add(seen.node), ShareState::kBound, seen.usage, seen.allocation_error, seen.resource_version);
  fresh.charge = quotas_.Take(uid, seen.pod.ns, seen.quota_traits, seen.quota_usage);
  fresh.terminating = evicted;
  NoteAbout(fresh, seen);
}

void Cluster::Impl::ForgetPod(const PodRef& pod) {
  MutexLock lock(mutex_);
  const PodUid uid(pod.uid);
  Remove(uid);
  pods_.Bury(uid);
}

void Cluster::Impl::BeginPodList() {
  MutexLock lock(mutex_);
  pod_list_began_ = ++sequence_;
}

// A bind committed before the list was asked for must be in it (lists are consistent reads), so only what was touched since may be missing: it was bound after
// the list, and the watch will tell, or it was bound and gone before it, and nobody will ever tell. Nominal shares and binds in flight end by their own rules.
void Cluster::Impl::EndPodList() {
  MutexLock lock(mutex_);
  doubtful_.clear();
  ++pod_lists_;
  for (const PodUid& uid : pods_.Uids()) {
    const PodRecord& record = *pods_.Find(uid);
    if (record.state != ShareState::kBound) continue;
    if (record.touched < pod_list_began_) {
      Remove(uid);
      pods_.Bury(uid);
    } else if (record.read < pod_list_began_) {
      doubtful_.push_back(uid);
    }
  }
}

Cluster::Doubts Cluster::Impl::DoubtfulPods() {
  MutexLock lock(mutex_);
  Doubts doubts{pod_lists_, {}};
  std::erase_if(doubtful_, [&](const PodUid& uid) PARTAGE_REQUIRES(mutex_) {
    const PodRecord* record = pods_.Find(uid);
    return record == nullptr || record->state != ShareState::kBound || (record->read != 0 && record->read >= pod_list_began_);
  });
  for (const PodUid& uid : doubtful_) doubts.pods.push_back(RefOf(*pods_.Find(uid)));
  return doubts;
}

void Cluster::Impl::ConfirmPod(const PodRef& pod, std::uint64_t list) {
  MutexLock lock(mutex_);
  if (list == pod_lists_) std::erase(doubtful_, PodUid(pod.uid));
}

void Cluster::Impl::PublishLocked() {
  if (!table_.dirty()) return;
  auto next = table_.MakeSnapshot();
  MutexLock lock(published_mutex_);
  published_.swap(next);
}

void Cluster::Impl::Publish() {
  MutexLock lock(mutex_);
  PublishLocked();
}

}  // namespace partage::scheduler
