// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/container/small_vector.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include "scheduler/state/cluster.h"
#include "scheduler/state/node_table.h"

namespace partage::scheduler {

/// "ns" and "name" of a pod in one allocation: 1.2 million of them must fit in memory.
class PodName {
 public:
  PodName() = default;
  PodName(std::string_view ns, std::string_view name);
  std::string_view ns() const { return {text_.get(), ns_size_}; }
  std::string_view name() const { return {text_.get() + ns_size_, name_size_}; }

 private:
  std::unique_ptr<char[]> text_;
  std::uint32_t ns_size_ = 0, name_size_ = 0;
};

/// One pod with a share, on one node.
struct PodRecord {
  PodUid uid;
  PodName name;
  std::uint64_t resource_version = 0;
  std::uint64_t touched = 0;  ///< sequence number of the last sign of life, to tell what a full list must have named
  std::uint64_t read =
      0;  ///< the same of the last time that a list or watch showed it bound; 0: so far only the reply to our own Binding has told
  NodeId node = kNoNode;
  std::int32_t priority = 0;
  std::uint32_t created = 0;  ///< seconds since 1970
  Cluster::ShareState state = Cluster::ShareState::kBound;
  bool terminating = false;
  boost::container::small_vector<PositionUsage, 1> shares;  ///< on devices the node has
  QuotaLedger::Charge charge;

  /// What cannot be put on a device: UUIDs the node does not have, or an allocation nobody can read. Rare, so out of line.
  struct Trouble {
    std::vector<device::UuidUsage> unmatched;
    std::string error;
  };
  std::unique_ptr<Trouble> trouble;

  // Neighbours in the list of the node's pods.
  std::uint32_t previous = kNone, next = kNone;
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
};

/// The pods that hold shares, by UID and by node, and the UIDs known to be over. Pure book-keeping: it changes no device. Not thread-safe: guarded by Cluster's
/// mutex.
class PodLedger {
 public:
  /// nullptr when the pod has no share.
  PodRecord* Find(const PodUid& uid);
  const PodRecord* Find(const PodUid& uid) const;
  /// REQUIRES: no record of this UID. The reference is valid until Erase.
  PodRecord& Insert(const PodUid& uid, PodName name, NodeId node);
  void Erase(const PodUid& uid);

  /// First of the node's pods, then `Next`. nullptr at the end.
  const PodRecord* First(NodeId node) const;
  const PodRecord* Next(const PodRecord& record) const;

  /// A UID is never used again: later events of a buried pod are echoes. The last 65,536 are remembered.
  void Bury(const PodUid& uid);
  bool buried(const PodUid& uid) const { return buried_.contains(uid); }

  std::size_t size() const { return by_uid_.size(); }
  /// UIDs of all pods, in no order.
  std::vector<PodUid> Uids() const;

 private:
  std::uint32_t& Head(NodeId node);

  std::deque<PodRecord> records_;
  std::vector<std::uint32_t> free_;
  boost::unordered_flat_map<PodUid, std::uint32_t, PodUid::Hash> by_uid_;
  std::vector<std::uint32_t> heads_;  // by NodeId
  std::deque<PodUid> burials_;
  boost::unordered_flat_set<PodUid, PodUid::Hash> buried_;
};

}  // namespace partage::scheduler
