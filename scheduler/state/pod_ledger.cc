// SPDX-License-Identifier: Apache-2.0
#include "scheduler/state/pod_ledger.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace partage::scheduler {
namespace {

constexpr std::size_t kBurialsRemembered = 65536;

}  // namespace

PodName::PodName(std::string_view ns, std::string_view name)
    : text_(new char[ns.size() + name.size()]),
      ns_size_(static_cast<std::uint32_t>(ns.size())),
      name_size_(static_cast<std::uint32_t>(name.size())) {
  std::copy(ns.begin(), ns.end(), text_.get());
  std::copy(name.begin(), name.end(), text_.get() + ns.size());
}

PodRecord* PodLedger::Find(const PodUid& uid) {
  const auto found = by_uid_.find(uid);
  return found == by_uid_.end() ? nullptr : &records_[found->second];
}

const PodRecord* PodLedger::Find(const PodUid& uid) const {
  const auto found = by_uid_.find(uid);
  return found == by_uid_.end() ? nullptr : &records_[found->second];
}

std::uint32_t& PodLedger::Head(NodeId node) {
  if (heads_.size() <= node) heads_.resize(node + 1, PodRecord::kNone);
  return heads_[node];
}

PodRecord& PodLedger::Insert(const PodUid& uid, PodName name, NodeId node) {
  auto place = static_cast<std::uint32_t>(records_.size());
  if (free_.empty()) {
    records_.emplace_back();
  } else {
    place = free_.back();
    free_.pop_back();
  }
  const bool fresh = by_uid_.emplace(uid, place).second;
  PARTAGE_CHECK(fresh, "a pod has one record");
  PodRecord& record = records_[place];
  record.uid = uid;
  record.name = std::move(name);
  record.node = node;
  std::uint32_t& head = Head(node);
  record.next = head;
  if (head != PodRecord::kNone) records_[head].previous = place;
  head = place;
  return record;
}

void PodLedger::Erase(const PodUid& uid) {
  const auto found = by_uid_.find(uid);
  if (found == by_uid_.end()) return;
  const std::uint32_t place = found->second;
  by_uid_.erase(found);
  PodRecord& record = records_[place];
  if (record.previous != PodRecord::kNone) {
    records_[record.previous].next = record.next;
  } else {
    Head(record.node) = record.next;
  }
  if (record.next != PodRecord::kNone) records_[record.next].previous = record.previous;
  record = PodRecord{};
  free_.push_back(place);
}

const PodRecord* PodLedger::First(NodeId node) const {
  if (node >= heads_.size() || heads_[node] == PodRecord::kNone) return nullptr;
  return &records_[heads_[node]];
}

const PodRecord* PodLedger::Next(const PodRecord& record) const {
  return record.next == PodRecord::kNone ? nullptr : &records_[record.next];
}

void PodLedger::Bury(const PodUid& uid) {
  if (!buried_.insert(uid).second) return;
  burials_.push_back(uid);
  if (burials_.size() <= kBurialsRemembered) return;
  buried_.erase(burials_.front());
  burials_.pop_front();
}

std::vector<PodUid> PodLedger::Uids() const {
  std::vector<PodUid> uids;
  uids.reserve(by_uid_.size());
  for (const auto& [uid, place] : by_uid_) uids.push_back(uid);
  return uids;
}

}  // namespace partage::scheduler
