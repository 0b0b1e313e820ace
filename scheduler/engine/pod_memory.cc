// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/pod_memory.h"

#include <algorithm>
#include <tuple>

namespace partage::scheduler {

PodMemory::Entry& PodMemory::Touch(const PodRef& pod) {
  if (const auto known = by_uid_.find(pod.uid); known != by_uid_.end()) {
    entries_.splice(entries_.end(), entries_, known->second);
    known->second->read = reads_;
    return *known->second;
  }
  if (entries_.size() >= kLimit) Erase(entries_.begin());
  entries_.push_back({.pod = pod, .request = nullptr, .waiting = false, .nearest = {}, .since = {}, .read = reads_, .targets = {}});
  by_uid_.emplace(pod.uid, std::prev(entries_.end()));
  return entries_.back();
}

void PodMemory::RememberFit(const PodRef& pod, Request request) {
  MutexLock lock(mutex_);
  Entry& entry = Touch(pod);
  entry.request = std::move(request);
  waiting_ -= entry.waiting ? 1 : 0;
  entry.waiting = false;
  SetTargets(entry, {});
}

void PodMemory::RememberRefused(const PodRef& pod, Request request, Nearest nearest, Targets targets, Clock::Mono now) {
  MutexLock lock(mutex_);
  Entry& entry = Touch(pod);
  entry.request = std::move(request);
  entry.nearest = std::move(nearest);
  entry.pod.priority = pod.priority;
  SetTargets(entry, std::move(targets));
  if (entry.waiting) return;
  entry.waiting = true;
  entry.since = now;
  ++waiting_;
}

void PodMemory::Forget(std::string_view uid) {
  MutexLock lock(mutex_);
  const auto known = by_uid_.find(std::string(uid));
  if (known != by_uid_.end()) Erase(known->second);
}

void PodMemory::ForgetTargets(std::string_view uid) {
  MutexLock lock(mutex_);
  const auto known = by_uid_.find(std::string(uid));
  if (known != by_uid_.end()) SetTargets(*known->second, {});
}

void PodMemory::Erase(Entries::iterator entry) {
  waiting_ -= entry->waiting ? 1 : 0;
  SetTargets(*entry, {});
  by_uid_.erase(entry->pod.uid);
  entries_.erase(entry);
}

void PodMemory::BeginRead() {
  MutexLock lock(mutex_);
  ++reads_;
}

void PodMemory::See(std::string_view uid) {
  MutexLock lock(mutex_);
  const auto known = by_uid_.find(std::string(uid));
  if (known != by_uid_.end()) known->second->read = reads_;
}

void PodMemory::EndRead() {
  MutexLock lock(mutex_);
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto looked_at = entry++;
    if (looked_at->read < reads_) Erase(looked_at);
  }
}

void PodMemory::SetTargets(Entry& entry, Targets targets) {
  if (targets.nodes != nullptr) {
    const auto same_index = !last_targets_.index.owner_before(targets.index) && !targets.index.owner_before(last_targets_.index);
    if (same_index && last_targets_.nodes != nullptr && *last_targets_.nodes == *targets.nodes) {
      targets.nodes = last_targets_.nodes;
    } else if (const std::size_t size = targets.nodes->size(); *target_nodes_ + size > kTargetLimit) {
      targets = {};
    } else {
      *target_nodes_ += size;
      auto ended = [kept = targets.nodes, sum = target_nodes_, size](const void*) { *sum -= size; };
      targets.nodes = {targets.nodes.get(), std::move(ended)};
      last_targets_ = targets;
    }
  }
  with_targets_ += targets.nodes != nullptr ? 1 : 0;
  with_targets_ -= entry.targets.nodes != nullptr ? 1 : 0;
  entry.targets = std::move(targets);
}

std::vector<Engine::Preemptor> PodMemory::Preemptors(std::size_t limit) const {
  MutexLock lock(mutex_);
  std::vector<Engine::Preemptor> pods;
  if (with_targets_ == 0) return pods;
  for (const Entry& entry : entries_) {
    if (entry.targets.nodes != nullptr) {
      pods.push_back({entry.pod, entry.request, entry.targets.nodes, entry.targets.index, entry.since});
    }
  }
  std::sort(pods.begin(), pods.end(), [](const auto& a, const auto& b) {
    return std::tuple(-std::int64_t{a.pod.priority}, a.since, a.pod.uid) < std::tuple(-std::int64_t{b.pod.priority}, b.since, b.pod.uid);
  });
  if (pods.size() > limit) pods.resize(limit);
  return pods;
}

PodMemory::Request PodMemory::RequestOf(const PodRef& pod) const {
  MutexLock lock(mutex_);
  const auto known = by_uid_.find(pod.uid);
  return known == by_uid_.end() ? nullptr : known->second->request;
}

std::optional<PodMemory::Nearest> PodMemory::NearestOf(const PodRef& pod) const {
  MutexLock lock(mutex_);
  const auto known = by_uid_.find(pod.uid);
  if (known == by_uid_.end() || !known->second->waiting) return std::nullopt;
  return known->second->nearest;
}

std::optional<Engine::Remembered> PodMemory::Find(std::string_view ns, std::string_view name) const {
  MutexLock lock(mutex_);
  for (const Entry& entry : entries_) {
    if (entry.pod.name != name || entry.pod.ns != ns) continue;
    return Engine::Remembered{entry.pod, entry.request, entry.waiting, entry.nearest.text, entry.since};
  }
  return std::nullopt;
}

std::vector<Engine::Waiting> PodMemory::waiting() const {
  MutexLock lock(mutex_);
  std::vector<Engine::Waiting> pods;
  pods.reserve(waiting_);
  for (const Entry& entry : entries_) {
    if (entry.waiting) pods.push_back({entry.pod, entry.nearest.text, entry.since});
  }
  std::sort(pods.begin(), pods.end(),
            [](const auto& a, const auto& b) { return std::tie(a.pod.ns, a.pod.name) < std::tie(b.pod.ns, b.pod.name); });
  return pods;
}

std::size_t PodMemory::waiting_count() const {
  MutexLock lock(mutex_);
  return waiting_;
}

std::vector<PodMemory::WaitingRequest> PodMemory::WaitingRequests(std::size_t limit, Blocked blocked) const {
  MutexLock lock(mutex_);
  std::vector<WaitingRequest> distinct;
  if (waiting_ == 0) return distinct;
  for (const Entry& entry : entries_) {
    if (!entry.waiting || entry.request == nullptr) continue;
    if (blocked == Blocked::kByQuota && !entry.nearest.node.empty()) continue;
    const bool known = std::any_of(distinct.begin(), distinct.end(), [&](const WaitingRequest& other) {
      return other.ns == entry.pod.ns && *other.request == *entry.request;
    });
    if (known) continue;
    distinct.push_back({entry.pod.ns, entry.request});
    if (distinct.size() == limit) break;
  }
  return distinct;
}

}  // namespace partage::scheduler
