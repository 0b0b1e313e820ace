// SPDX-License-Identifier: Apache-2.0
#include "scheduler/state/cluster.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <unordered_map>

#include "base/check.h"
#include "base/mutex.h"
#include "scheduler/state/node_table.h"
#include "scheduler/state/pod_ledger.h"

namespace partage::scheduler {
namespace {

using ShareState = Cluster::ShareState;

constexpr std::size_t kForgottenNodesRemembered = 16384;

// Older than what is known, by the API server's own counter; 0 is "unknown" and never older.
bool Older(std::uint64_t version, std::uint64_t known) { return version != 0 && known != 0 && version < known; }

std::string WhereBound(const PodRef& pod, const std::string& node, ShareState state) {
  return fmt::format("pod {}: {} on node {}", pod.FullName(), state == ShareState::kBound ? "already bound" : "a bind is in flight", node);
}

}  // namespace

class Cluster::Impl {
 public:
  explicit Impl(const Clock& clock) : clock_(clock) { published_ = table_.MakeSnapshot(); }

  std::shared_ptr<const Snapshot> snapshot() const { return published_.load(std::memory_order_acquire); }

  void ObserveNode(NodeObservation node) PARTAGE_EXCLUDES(mutex_);
  void ForgetNode(std::string_view name, std::uint64_t version) PARTAGE_EXCLUDES(mutex_);
  void ObservePod(PodObservation pod) PARTAGE_EXCLUDES(mutex_);
  void ForgetPod(const PodRef& pod) PARTAGE_EXCLUDES(mutex_);
  void BeginNodeList() PARTAGE_EXCLUDES(mutex_);
  void EndNodeList() PARTAGE_EXCLUDES(mutex_);
  void BeginPodList() PARTAGE_EXCLUDES(mutex_);
  void EndPodList() PARTAGE_EXCLUDES(mutex_);
  void Publish() PARTAGE_EXCLUDES(mutex_);

  Result<> Nominate(const PodRef& pod, std::string_view node, std::chrono::milliseconds ttl, const Placer& place) PARTAGE_EXCLUDES(mutex_);
  void DropNominal(const PodRef& pod) PARTAGE_EXCLUDES(mutex_);
  std::optional<std::string> NominalNode(const PodRef& pod) const PARTAGE_EXCLUDES(mutex_);
  std::size_t ExpireNominals() PARTAGE_EXCLUDES(mutex_);
  Result<Reservation> Reserve(Cluster& owner, const PodRef& pod, std::string_view node, const Placer& place) PARTAGE_EXCLUDES(mutex_);
  std::optional<device::Allocation> InFlight(const PodRef& pod) const PARTAGE_EXCLUDES(mutex_);
  void Settle(const PodRef& pod, bool bound) PARTAGE_EXCLUDES(mutex_);

  std::vector<std::string> TakeFreedNodes() PARTAGE_EXCLUDES(mutex_);
  Counts counts() const PARTAGE_EXCLUDES(mutex_);
  void VisitPods(std::string_view node, const std::function<void(const PodEntry&)>& visit) const PARTAGE_EXCLUDES(mutex_);
  Result<> CheckInvariants() const PARTAGE_EXCLUDES(mutex_);

 private:
  /// What is known of a node besides its devices.
  struct Node {
    std::uint64_t resource_version = 0;
    std::uint64_t touched = 0;
    std::string inventory_error;
    std::uint32_t troubled_pods = 0;
    bool freed = false;
  };
  struct Held {
    device::Allocation allocation;
    Clock::Mono until{};  // nominal only
  };
  using UidMap = std::unordered_map<PodUid, Held, PodUid::Hash>;

  Node& NodeOf(NodeId id) PARTAGE_REQUIRES(mutex_);
  NodeId Open(std::string_view name) PARTAGE_REQUIRES(mutex_);
  void SetInventory(NodeId id, device::NodeInventory inventory) PARTAGE_REQUIRES(mutex_);
  void MarkFreed(NodeId id) PARTAGE_REQUIRES(mutex_);
  void RefreshQuarantine(NodeId id) PARTAGE_REQUIRES(mutex_);
  void DropIfEmpty(NodeId id) PARTAGE_REQUIRES(mutex_);
  void Vanish(NodeId id) PARTAGE_REQUIRES(mutex_);

  std::vector<device::UuidUsage> UsageOf(const PodRecord& record) const PARTAGE_REQUIRES(mutex_);
  void Match(PodRecord& record, const std::vector<device::UuidUsage>& usage, const std::string& error) PARTAGE_REQUIRES(mutex_);
  void Put(const PodRef& pod, NodeId node, ShareState state, const std::vector<device::UuidUsage>& usage, const std::string& error,
           std::uint64_t version) PARTAGE_REQUIRES(mutex_);
  bool Remove(const PodUid& uid) PARTAGE_REQUIRES(mutex_);
  bool SameShare(const PodRecord& record, const PodObservation& pod) const PARTAGE_REQUIRES(mutex_);

  Result<device::Allocation> Place(const PodRef& pod, NodeId id, const Placer& place) const PARTAGE_REQUIRES(mutex_);
  Result<> RefuseIfHeld(const PodRef& pod, const PodUid& uid) const PARTAGE_REQUIRES(mutex_);
  void PublishLocked() PARTAGE_REQUIRES(mutex_);
  Result<> CheckNode(NodeId id) const PARTAGE_REQUIRES(mutex_);

  const Clock& clock_;
  std::atomic<std::shared_ptr<const Snapshot>> published_;
  mutable Mutex mutex_;
  NodeTable table_ PARTAGE_GUARDED_BY(mutex_);
  std::vector<Node> nodes_ PARTAGE_GUARDED_BY(mutex_);  // by NodeId
  PodLedger pods_ PARTAGE_GUARDED_BY(mutex_);
  UidMap nominal_ PARTAGE_GUARDED_BY(mutex_);
  UidMap reserved_ PARTAGE_GUARDED_BY(mutex_);
  std::vector<NodeId> freed_ PARTAGE_GUARDED_BY(mutex_);
  std::map<std::string, std::uint64_t, std::less<>> forgotten_nodes_ PARTAGE_GUARDED_BY(mutex_);
  std::uint64_t sequence_ PARTAGE_GUARDED_BY(mutex_) = 1;
  std::uint64_t node_list_began_ PARTAGE_GUARDED_BY(mutex_) = 0;
  std::uint64_t pod_list_began_ PARTAGE_GUARDED_BY(mutex_) = 0;
};

// --- nodes ---------------------------------------------------------------------------------------------------------------------------------

Cluster::Impl::Node& Cluster::Impl::NodeOf(NodeId id) {
  if (nodes_.size() <= id) nodes_.resize(id + 1);
  return nodes_[id];
}

NodeId Cluster::Impl::Open(std::string_view name) {
  const NodeId id = table_.Find(name);
  return id != kNoNode && table_.present(id) ? id : kNoNode;
}

void Cluster::Impl::ObserveNode(NodeObservation seen) {
  MutexLock lock(mutex_);
  if (const auto gone = forgotten_nodes_.find(seen.name); gone != forgotten_nodes_.end()) {
    if (Older(seen.resource_version, gone->second)) return;
    forgotten_nodes_.erase(gone);
  }
  const NodeId id = table_.Add(seen.name);
  Node& node = NodeOf(id);
  if (Older(seen.resource_version, node.resource_version)) {
    if (table_.present(id)) node.touched = ++sequence_;
    return;
  }
  node.resource_version = seen.resource_version;
  node.touched = ++sequence_;
  node.inventory_error = seen.inventory_error;
  table_.SetPresent(id, true);
  if (seen.inventory_error.empty() && !(seen.inventory == table_.info(id).inventory)) SetInventory(id, std::move(seen.inventory));
  RefreshQuarantine(id);
}

void Cluster::Impl::SetInventory(NodeId id, device::NodeInventory inventory) {
  std::vector<std::pair<PodUid, std::vector<device::UuidUsage>>> shares;
  for (const PodRecord* pod = pods_.First(id); pod != nullptr; pod = pods_.Next(*pod)) shares.emplace_back(pod->uid, UsageOf(*pod));
  auto info = std::make_shared<NodeInfo>();
  info->name = table_.Name(id);
  info->inventory = std::move(inventory);
  info->quarantine = table_.info(id).quarantine;
  table_.SetInfo(id, std::move(info));
  nodes_[id].troubled_pods = 0;
  for (auto& [uid, usage] : shares) {
    PodRecord& record = *pods_.Find(uid);
    const std::string error = record.trouble ? record.trouble->error : "";
    record.shares.clear();
    Match(record, usage, error);
  }
  MarkFreed(id);
}

void Cluster::Impl::MarkFreed(NodeId id) {
  if (nodes_[id].freed) return;
  nodes_[id].freed = true;
  freed_.push_back(id);
}

void Cluster::Impl::RefreshQuarantine(NodeId id) {
  std::string reason;
  if (!nodes_[id].inventory_error.empty()) {
    reason = fmt::format("its inventory cannot be read: {}", nodes_[id].inventory_error);
  } else if (nodes_[id].troubled_pods > 0) {
    const PodRecord* pod = pods_.First(id);
    while (!pod->trouble) pod = pods_.Next(*pod);
    reason =
        fmt::format("pod {}/{} {}", pod->name.ns(), pod->name.name(),
                    pod->trouble->error.empty() ? fmt::format("holds a share of unknown device {}", pod->trouble->unmatched.front().uuid)
                                                : fmt::format("holds devices nobody can name: {}", pod->trouble->error));
  }
  if (reason.empty() && !table_.info(id).quarantine.empty()) MarkFreed(id);
  table_.SetQuarantine(id, reason);
}

// The node object is gone. Its pods go by their own events; until then the node is kept, absent.
void Cluster::Impl::Vanish(NodeId id) {
  table_.SetPresent(id, false);
  DropIfEmpty(id);
}

void Cluster::Impl::DropIfEmpty(NodeId id) {
  if (table_.present(id) || pods_.First(id) != nullptr) return;
  const std::string name = table_.Name(id);
  if (nodes_[id].resource_version != 0) {
    if (forgotten_nodes_.size() >= kForgottenNodesRemembered) forgotten_nodes_.erase(forgotten_nodes_.begin());
    forgotten_nodes_[name] = nodes_[id].resource_version;
  }
  std::erase(freed_, id);
  nodes_[id] = {};
  table_.Erase(id);
}

void Cluster::Impl::ForgetNode(std::string_view name, std::uint64_t version) {
  MutexLock lock(mutex_);
  const NodeId id = table_.Find(name);
  if (id == kNoNode) {
    if (version != 0) forgotten_nodes_[std::string(name)] = version;
    return;
  }
  if (Older(version, nodes_[id].resource_version)) return;
  nodes_[id].resource_version = std::max(version, nodes_[id].resource_version);
  Vanish(id);
}

void Cluster::Impl::BeginNodeList() {
  MutexLock lock(mutex_);
  node_list_began_ = ++sequence_;
}

void Cluster::Impl::EndNodeList() {
  MutexLock lock(mutex_);
  for (NodeId id = 0; id < nodes_.size(); ++id) {
    if (table_.present(id) && nodes_[id].touched < node_list_began_) Vanish(id);
  }
}

// --- pods ----------------------------------------------------------------------------------------------------------------------------------

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

void Cluster::Impl::Put(const PodRef& pod, NodeId node, ShareState state, const std::vector<device::UuidUsage>& usage,
                        const std::string& error, std::uint64_t version) {
  PodRecord& record = pods_.Insert(PodUid(pod.uid), PodName(pod.ns, pod.name), node);
  record.state = state;
  record.resource_version = version;
  record.touched = ++sequence_;
  NodeOf(node);
  Match(record, usage, error);
  if (record.trouble) RefreshQuarantine(node);
}

// Gives back whatever the pod holds. False when it held nothing.
bool Cluster::Impl::Remove(const PodUid& uid) {
  PodRecord* record = pods_.Find(uid);
  if (record == nullptr) return false;
  const NodeId node = record->node;
  table_.Apply(node, {record->shares.begin(), record->shares.end()}, -1);
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
         (record.trouble ? record.trouble->error : "") == pod.allocation_error && UsageOf(record) == pod.usage;
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
    record->resource_version = std::max(record->resource_version, seen.resource_version);
    record->touched = ++sequence_;
    return;
  }
  Remove(uid);
  Put(seen.pod, table_.Add(seen.node), ShareState::kBound, seen.usage, seen.allocation_error, seen.resource_version);
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

// A bind committed before the list was asked for must be in it (lists are consistent reads), so only what was touched since may be missing.
// Nominal shares and binds in flight end by their own rules.
void Cluster::Impl::EndPodList() {
  MutexLock lock(mutex_);
  for (const PodUid& uid : pods_.Uids()) {
    const PodRecord& record = *pods_.Find(uid);
    if (record.state != ShareState::kBound || record.touched >= pod_list_began_) continue;
    Remove(uid);
    pods_.Bury(uid);
  }
}

void Cluster::Impl::PublishLocked() {
  if (table_.dirty()) published_.store(table_.MakeSnapshot(), std::memory_order_release);
}

void Cluster::Impl::Publish() {
  MutexLock lock(mutex_);
  PublishLocked();
}

// --- decisions -----------------------------------------------------------------------------------------------------------------------------

Result<> Cluster::Impl::RefuseIfHeld(const PodRef& pod, const PodUid& uid) const {
  if (pods_.buried(uid)) return Fail(Code::kNotFound, "pod {} is finished or deleted", pod.FullName());
  const PodRecord* record = pods_.Find(uid);
  if (record != nullptr && record->state != ShareState::kNominal) {
    return Fail(Code::kConflict, "{}", WhereBound(pod, table_.Name(record->node), record->state));
  }
  return {};
}

// Asks the placer and checks its answer: whatever a policy does, no device is given out beyond its capacity.
Result<device::Allocation> Cluster::Impl::Place(const PodRef& pod, NodeId id, const Placer& place) const {
  auto allocation = place(table_.block(id), id % kBlockNodes);
  if (!allocation) return Fail(allocation.error());
  std::vector<PositionUsage> shares;
  for (const auto& [uuid, usage] : device::CollapseUsage(*allocation)) {
    const std::int32_t position = table_.info(id).inventory.Find(uuid);
    if (position < 0) return Fail(Code::kInternal, "pod {}: placed on unknown device {} of node {}", pod.FullName(), uuid, table_.Name(id));
    shares.push_back({static_cast<std::uint32_t>(position), usage});
  }
  if (!table_.row(id).open || !table_.CanTake(id, shares)) {
    return Fail(Code::kInternal, "pod {}: placed beyond the capacity of node {}", pod.FullName(), table_.Name(id));
  }
  return allocation;
}

Result<> Cluster::Impl::Nominate(const PodRef& pod, std::string_view node, std::chrono::milliseconds ttl, const Placer& place) {
  MutexLock lock(mutex_);
  const PodUid uid(pod.uid);
  if (auto free = RefuseIfHeld(pod, uid); !free) return free;
  Remove(uid);
  const NodeId id = Open(node);
  auto allocation =
      id == kNoNode ? Result<device::Allocation>(Fail(Code::kNotFound, "node {} does not exist", node)) : Place(pod, id, place);
  if (allocation) {
    Put(pod, id, ShareState::kNominal, device::CollapseUsage(*allocation), "", 0);
    nominal_[uid] = {std::move(*allocation), clock_.Now() + ttl};
  }
  PublishLocked();
  return allocation ? Result<>() : Result<>(Fail(allocation.error()));
}

void Cluster::Impl::DropNominal(const PodRef& pod) {
  MutexLock lock(mutex_);
  const PodUid uid(pod.uid);
  if (!nominal_.contains(uid)) return;
  Remove(uid);
  PublishLocked();
}

std::optional<std::string> Cluster::Impl::NominalNode(const PodRef& pod) const {
  MutexLock lock(mutex_);
  const auto found = nominal_.find(PodUid(pod.uid));
  if (found == nominal_.end()) return std::nullopt;
  return found->second.allocation.node;
}

std::size_t Cluster::Impl::ExpireNominals() {
  MutexLock lock(mutex_);
  std::vector<PodUid> over;
  for (const auto& [uid, held] : nominal_) {
    if (held.until <= clock_.Now()) over.push_back(uid);
  }
  for (const PodUid& uid : over) Remove(uid);
  PublishLocked();
  return over.size();
}

Result<Reservation> Cluster::Impl::Reserve(Cluster& owner, const PodRef& pod, std::string_view node, const Placer& place) {
  MutexLock lock(mutex_);
  const PodUid uid(pod.uid);
  if (auto free = RefuseIfHeld(pod, uid); !free) return Fail(free.error());
  const NodeId id = Open(node);
  std::optional<device::Allocation> kept;
  if (const auto nominal = nominal_.find(uid); nominal != nominal_.end() && nominal->second.allocation.node == node) {
    kept = nominal->second.allocation;
  }
  Remove(uid);
  if (id == kNoNode) {
    PublishLocked();
    return Fail(Code::kNotFound, "node {} does not exist", node);
  }
  // The devices of the nominal share are free again, for us alone: nobody can have come between. They may have become unhealthy, so ask.
  auto allocation = kept ? Place(pod, id, [&](const Block&, std::uint32_t) { return Result<device::Allocation>(*kept); })
                         : Result<device::Allocation>(Fail(Code::kNotFound, "no nominal share"));
  if (!allocation) allocation = Place(pod, id, place);
  if (allocation) {
    Put(pod, id, ShareState::kReserved, device::CollapseUsage(*allocation), "", 0);
    reserved_[uid] = {*allocation, {}};
  }
  PublishLocked();
  if (!allocation) return Fail(allocation.error());
  return Reservation(owner, pod, std::move(*allocation), table_.info(id).inventory.dialect);
}

std::optional<device::Allocation> Cluster::Impl::InFlight(const PodRef& pod) const {
  MutexLock lock(mutex_);
  const auto found = reserved_.find(PodUid(pod.uid));
  if (found == reserved_.end()) return std::nullopt;
  return found->second.allocation;
}

void Cluster::Impl::Settle(const PodRef& pod, bool bound) {
  MutexLock lock(mutex_);
  const PodUid uid(pod.uid);
  PodRecord* record = pods_.Find(uid);
  if (record == nullptr || record->state != ShareState::kReserved) return;
  if (bound) {
    record->state = ShareState::kBound;
    record->touched = ++sequence_;
    reserved_.erase(uid);
  } else {
    Remove(uid);
    PublishLocked();
  }
}

// --- views ---------------------------------------------------------------------------------------------------------------------------------

std::vector<std::string> Cluster::Impl::TakeFreedNodes() {
  MutexLock lock(mutex_);
  std::vector<std::string> names;
  for (const NodeId id : freed_) {
    nodes_[id].freed = false;
    if (table_.present(id)) names.push_back(table_.Name(id));
  }
  freed_.clear();
  std::sort(names.begin(), names.end());
  return names;
}

Cluster::Counts Cluster::Impl::counts() const {
  Counts counts;
  {
    MutexLock lock(mutex_);
    counts.nominal = nominal_.size();
    counts.reserved = reserved_.size();
    counts.pods_bound = pods_.size() - counts.nominal - counts.reserved;
  }
  const auto now = snapshot();
  counts.nodes = now->index->size();
  for (const NodeId id : now->index->ordered()) {
    const Block& block = now->block(id);
    const NodeRow& row = now->row(id);
    counts.devices += row.count;
    counts.quarantined_nodes += row.open ? 0 : 1;
    for (std::uint32_t d = row.first; d < row.first + row.count; ++d) {
      counts.overcommitted_devices += block.free_slots[d] < 0 || block.free_mib[d] < 0 || block.free_cores[d] < 0 ? 1 : 0;
    }
  }
  return counts;
}

void Cluster::Impl::VisitPods(std::string_view node, const std::function<void(const PodEntry&)>& visit) const {
  MutexLock lock(mutex_);
  const NodeId id = table_.Find(node);
  if (id == kNoNode) return;
  for (const PodRecord* pod = pods_.First(id); pod != nullptr; pod = pods_.Next(*pod)) {
    visit(
        {pod->name.ns(), pod->name.name(), pod->uid, pod->state, UsageOf(*pod), pod->trouble ? std::string_view(pod->trouble->error) : ""});
  }
}

Result<> Cluster::Impl::CheckNode(NodeId id) const {
  const Block& block = table_.block(id);
  const NodeRow& row = table_.row(id);
  std::vector<Amount> used(row.count);
  std::vector<std::int32_t> exclusive(row.count);
  std::uint32_t troubled = 0;
  for (const PodRecord* pod = pods_.First(id); pod != nullptr; pod = pods_.Next(*pod)) {
    troubled += pod->trouble ? 1 : 0;
    for (const auto& [position, usage] : pod->shares) {
      used[position].slots += usage.slots;
      used[position].mib += usage.mib;
      used[position].cores += usage.cores;
      exclusive[position] += usage.exclusive ? 1 : 0;
    }
  }
  if (id < nodes_.size() && troubled != nodes_[id].troubled_pods)
    return Fail(Code::kInternal, "node {}: troubled pods miscounted", table_.Name(id));
  for (std::uint32_t p = 0; p < row.count; ++p) {
    const DeviceView view = block.View(id % kBlockNodes, p);
    if (!(view.used == used[p]) || block.exclusive_shares[row.first + p] != exclusive[p]) {
      return Fail(Code::kInternal, "node {} device {}: {} MiB, {} cores, {} slots booked, pods hold {}, {}, {}", table_.Name(id), p,
                  view.used.mib, view.used.cores, view.used.slots, used[p].mib, used[p].cores, used[p].slots);
    }
  }
  Block copy = block;
  copy.RefreshRow(id % kBlockNodes);
  const NodeRow& fresh = copy.rows[id % kBlockNodes];
  if (!(fresh.used == row.used) || !(fresh.total == row.total) || fresh.open_devices != row.open_devices ||
      fresh.max_free_mib != row.max_free_mib || fresh.max_free_cores != row.max_free_cores) {
    return Fail(Code::kInternal, "node {}: its sums differ from its devices", table_.Name(id));
  }
  return {};
}

Result<> Cluster::Impl::CheckInvariants() const {
  MutexLock lock(mutex_);
  std::size_t listed = 0;
  for (NodeId id = 0; id < table_.id_limit(); ++id) {
    if (auto ok = CheckNode(id); !ok) return ok;
    for (const PodRecord* pod = pods_.First(id); pod != nullptr; pod = pods_.Next(*pod)) ++listed;
  }
  if (listed != pods_.size()) return Fail(Code::kInternal, "{} pods by node, {} by UID", listed, pods_.size());
  std::size_t nominal = 0, reserved = 0;
  for (const PodUid& uid : pods_.Uids()) {
    const ShareState state = pods_.Find(uid)->state;
    nominal += state == ShareState::kNominal ? 1 : 0;
    reserved += state == ShareState::kReserved ? 1 : 0;
    if ((state == ShareState::kNominal) != nominal_.contains(uid) || (state == ShareState::kReserved) != reserved_.contains(uid)) {
      return Fail(Code::kInternal, "pod {}: its state and the list of held shares disagree", uid.ToString());
    }
  }
  if (nominal != nominal_.size() || reserved != reserved_.size()) return Fail(Code::kInternal, "held shares without a pod");
  return {};
}

// --- façade --------------------------------------------------------------------------------------------------------------------------------

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
Result<> Cluster::Nominate(const PodRef& pod, std::string_view node, std::chrono::milliseconds ttl, const Placer& place) {
  return impl_->Nominate(pod, node, ttl, place);
}
void Cluster::DropNominal(const PodRef& pod) { impl_->DropNominal(pod); }
std::optional<std::string> Cluster::NominalNode(const PodRef& pod) const { return impl_->NominalNode(pod); }
std::size_t Cluster::ExpireNominals() { return impl_->ExpireNominals(); }
Result<Reservation> Cluster::Reserve(const PodRef& pod, std::string_view node, const Placer& place) {
  return impl_->Reserve(*this, pod, node, place);
}
std::optional<device::Allocation> Cluster::InFlight(const PodRef& pod) const { return impl_->InFlight(pod); }
void Cluster::Settle(const PodRef& pod, bool bound) { impl_->Settle(pod, bound); }
std::vector<std::string> Cluster::TakeFreedNodes() { return impl_->TakeFreedNodes(); }
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
