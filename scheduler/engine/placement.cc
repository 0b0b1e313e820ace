// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/placement.h"

#include <algorithm>
#include <numeric>

namespace partage::scheduler {
namespace {

using device::ContainerKind;
using device::DeviceRequest;

bool Listed(const std::vector<std::string>& uuids, const std::string& uuid) {
  return std::find(uuids.begin(), uuids.end(), uuid) != uuids.end();
}

/// One container's request to one vendor: what is placed as a unit.
struct Item {
  std::size_t container = 0;  ///< index in the pod
  ContainerKind kind = ContainerKind::kApp;
  const DeviceRequest* request = nullptr;
};

/// What this pod was given on one device so far, in the trial.
struct TrialShare {
  std::size_t container = 0;
  ContainerKind kind = ContainerKind::kApp;
  std::int64_t mib = 0;
  std::int64_t cores = 0;
};

/// One attempt to place all items of a pod on one node. Used once, by one thread.
class Trial {
 public:
  Trial(const Block& block, std::uint32_t row, const Ask& ask)
      : block_(block), row_(row), node_(block.rows[row]), ask_(ask), trial_(node_.count) {
    const auto& containers = ask.request().containers;
    for (std::size_t c = 0; c < containers.size(); ++c) {
      for (const auto& request : containers[c].devices) items_.push_back({c, containers[c].kind, &request});
    }
    picks_.resize(items_.size());
  }

  bool Place() { return Greedy() || Search(); }
  /// Why the first item that cannot be placed even alone fails, or kTogether.
  Shortfall Explain();
  device::Allocation Result() const;

 private:
  using Positions = std::vector<std::uint32_t>;

  const device::Device& DeviceAt(std::uint32_t p) const { return (*block_.infos)[row_]->inventory.devices[p]; }
  std::int64_t MibOf(const Item& item, std::uint32_t p) const {
    return item.request->MibOn(static_cast<std::int32_t>(block_.total_mib[node_.first + p]));
  }

  /// kTogether stands for "fits".
  Reason Judge(const Item& item, std::uint32_t p) const;
  bool Admitted(std::uint32_t p) const;
  device::DeviceUsage UsageWith(const Item& item, std::uint32_t p) const;
  DeviceView RankView(const Item& item, std::uint32_t p) const;
  std::vector<DeviceView> Candidates(const Item& item) const;
  std::vector<std::vector<DeviceView>> Groups(const Item& item) const;
  Positions Choose(const Item& item, const std::vector<DeviceView>& candidates) const;
  void Give(std::size_t item, std::uint32_t p);
  void TakeBack(std::size_t item);
  bool Greedy();
  bool Search();
  bool SearchFrom(const std::vector<std::size_t>& order, std::size_t depth);
  bool SearchDevices(const std::vector<std::size_t>& order, std::size_t depth, const std::vector<DeviceView>& candidates, std::size_t from);
  bool Twins(std::uint32_t a, std::uint32_t b) const;
  Shortfall Short(const Item& item, Reason reason) const;
  void Measure(Shortfall& shortfall, const Item& item, std::uint32_t p) const;

  const Block& block_;
  const std::uint32_t row_;
  const NodeRow& node_;
  const Ask& ask_;
  std::vector<Item> items_;
  std::vector<Positions> picks_;                // by item
  std::vector<std::vector<TrialShare>> trial_;  // by device position
  int steps_ = 0;
};

// What the pod takes off the device with this item added, by Kubernetes' formula, whatever the order in which items were tried.
device::DeviceUsage Trial::UsageWith(const Item& item, std::uint32_t p) const {
  const TrialShare added{item.container, item.kind, MibOf(item, p), item.request->cores};
  device::UsageAccumulator sum;
  const auto add = [&sum](const TrialShare& share) {
    sum.Add(share.kind, static_cast<std::int32_t>(share.mib), static_cast<std::int32_t>(share.cores));
  };
  if (trial_[p].empty()) {  // nearly always
    add(added);
    return sum.Total();
  }
  std::vector<TrialShare> shares = trial_[p];
  shares.push_back(added);
  std::stable_sort(shares.begin(), shares.end(), [](const auto& a, const auto& b) { return a.container < b.container; });
  std::for_each(shares.begin(), shares.end(), add);
  return sum.Total();
}

bool Trial::Admitted(std::uint32_t p) const {
  const DeviceView now = block_.View(row_, p);
  const auto& policies = ask_.policies().devices;
  return std::all_of(policies.begin(), policies.end(), [&](const Policy* policy) { return policy->Admits(now); });
}

// The checks stand in the order of Reason, hopeless ones first, so that the answer is how far the device came.
Reason Trial::Judge(const Item& item, std::uint32_t p) const {
  const std::uint32_t d = node_.first + p;
  const auto& constraints = ask_.request().constraints;
  if (block_.flags[d] & kUnhealthy) return Reason::kUnhealthy;
  if (block_.flags[d] & kCordoned) return Reason::kCordoned;
  if (block_.flags[d] & kNotPlaceable) return Reason::kMode;
  if (!ask_.Accepts(*item.request, block_.kinds[d])) return Reason::kType;
  if (!constraints.use_uuids.empty() && !Listed(constraints.use_uuids, DeviceAt(p).uuid)) return Reason::kUuid;
  if (!constraints.nouse_uuids.empty() && Listed(constraints.nouse_uuids, DeviceAt(p).uuid)) return Reason::kUuid;

  const device::DeviceUsage with = UsageWith(item, p);
  const bool unused = block_.free_slots[d] == block_.total_slots[d];
  if (block_.free_slots[d] < with.slots) return Reason::kSlots;
  if ((block_.flags[d] & kHeldExclusively) || (with.exclusive && (!unused || with.slots > 1))) return Reason::kHeldExclusively;
  if (ask_.policies().restricts && !Admitted(p)) return Reason::kHeldExclusively;
  if (block_.free_mib[d] < with.mib) return Reason::kMemory;
  if (block_.free_cores[d] < with.cores) return Reason::kCores;
  if (item.request->cores == 0 && block_.total_cores[d] > 0 && block_.free_cores[d] - with.cores <= 0) return Reason::kNoCoresLeft;
  return Reason::kTogether;
}

// The device as a policy should see it for this item: with what runs beside it. Init containers come and go before the apps, so neither sees the other and both
// choose alike.
DeviceView Trial::RankView(const Item& item, std::uint32_t p) const {
  DeviceView view = block_.View(row_, p);
  for (const auto& share : trial_[p]) {
    const bool beside = share.kind == ContainerKind::kSidecar || (share.kind == ContainerKind::kApp && item.kind == ContainerKind::kApp);
    if (!beside) continue;
    view.used.slots += 1;
    view.used.mib += share.mib;
    view.used.cores += share.cores;
  }
  return view;
}

// Devices that fit, best first by the policies, ties in inventory order.
std::vector<DeviceView> Trial::Candidates(const Item& item) const {
  std::vector<DeviceView> fitting;
  for (std::uint32_t p = 0; p < node_.count; ++p) {
    if (Judge(item, p) == Reason::kTogether) fitting.push_back(RankView(item, p));
  }
  const auto& weights = ask_.request().weights;
  std::vector<std::vector<Score>> scores(node_.count);
  for (const auto& view : fitting) {
    const Amount demand{1, MibOf(item, static_cast<std::uint32_t>(view.position)), item.request->cores};
    for (const Policy* policy : ask_.policies().devices) scores[view.position].push_back(policy->RankDevice(view, demand, weights));
  }
  std::stable_sort(fitting.begin(), fitting.end(),
                   [&](const DeviceView& a, const DeviceView& b) { return scores[a.position] > scores[b.position]; });
  return fitting;
}

// The sets among which all devices of the item must lie: one, or with NUMA binding one per NUMA node; only those large enough, best device first.
std::vector<std::vector<DeviceView>> Trial::Groups(const Item& item) const {
  const auto needed = static_cast<std::size_t>(item.request->count);
  std::vector<std::vector<DeviceView>> groups;
  for (const DeviceView& view : Candidates(item)) {
    const auto same_numa = [&](const auto& group) {
      return !ask_.request().constraints.numa_bind || group.front().device->numa == view.device->numa;
    };
    auto group = std::find_if(groups.begin(), groups.end(), same_numa);
    if (group == groups.end()) group = groups.insert(group, std::vector<DeviceView>{});
    group->push_back(view);
  }
  std::erase_if(groups, [&](const auto& group) { return group.size() < needed; });
  return groups;
}

Trial::Positions Trial::Choose(const Item& item, const std::vector<DeviceView>& candidates) const {
  const auto count = static_cast<std::size_t>(item.request->count);
  std::vector<std::size_t> places(count);
  std::iota(places.begin(), places.end(), std::size_t{0});
  for (const Policy* policy : ask_.policies().devices) {
    auto chosen = policy->Choose(candidates, count);
    if (chosen.size() != count) continue;
    places = std::move(chosen);
    break;
  }
  Positions positions;
  for (const std::size_t place : places) positions.push_back(static_cast<std::uint32_t>(candidates[place].position));
  return positions;
}

void Trial::Give(std::size_t i, std::uint32_t p) {
  const Item& item = items_[i];
  trial_[p].push_back({item.container, item.kind, MibOf(item, p), item.request->cores});
  picks_[i].push_back(p);
}

void Trial::TakeBack(std::size_t i) {
  trial_[picks_[i].back()].pop_back();
  picks_[i].pop_back();
}

bool Trial::Greedy() {
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const auto groups = Groups(items_[i]);
    if (groups.empty()) {
      for (auto& shares : trial_) shares.clear();
      for (auto& picks : picks_) picks.clear();
      return false;
    }
    for (const std::uint32_t p : Choose(items_[i], groups.front())) Give(i, p);
  }
  return true;
}

// Hardest items first: they have the fewest places to go.
bool Trial::Search() {
  if (items_.size() < 2) return false;
  std::vector<std::size_t> order(items_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<std::size_t> choices;
  for (const Item& item : items_) choices.push_back(Candidates(item).size());
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    if (choices[a] != choices[b]) return choices[a] < choices[b];
    return items_[a].request->mib > items_[b].request->mib;
  });
  return SearchFrom(order, 0);
}

bool Trial::SearchFrom(const std::vector<std::size_t>& order, std::size_t depth) {
  if (depth == order.size()) return true;
  for (const auto& group : Groups(items_[order[depth]])) {
    if (SearchDevices(order, depth, group, 0)) return true;
  }
  return false;
}

bool Trial::SearchDevices(const std::vector<std::size_t>& order, std::size_t depth, const std::vector<DeviceView>& candidates,
                          std::size_t from) {
  const std::size_t i = order[depth];
  const auto missing = static_cast<std::size_t>(items_[i].request->count) - picks_[i].size();
  if (missing == 0) return SearchFrom(order, depth + 1);
  for (std::size_t c = from; c + missing <= candidates.size(); ++c) {
    const auto p = static_cast<std::uint32_t>(candidates[c].position);
    if (c > from && Twins(p, static_cast<std::uint32_t>(candidates[c - 1].position))) continue;
    if (++steps_ > kSearchSteps) return false;
    Give(i, p);
    if (SearchDevices(order, depth, candidates, c + 1)) return true;
    TakeBack(i);
  }
  return false;
}

// Devices between which no container of this pod can tell a difference: trying the second after the first failed is pointless.
bool Trial::Twins(std::uint32_t a, std::uint32_t b) const {
  const auto& constraints = ask_.request().constraints;
  if (!constraints.use_uuids.empty() || !constraints.nouse_uuids.empty() || !trial_[a].empty() || !trial_[b].empty()) return false;
  const std::uint32_t x = node_.first + a, y = node_.first + b;
  return DeviceAt(a).numa == DeviceAt(b).numa && block_.kinds[x] == block_.kinds[y] && block_.free_mib[x] == block_.free_mib[y] &&
         block_.total_mib[x] == block_.total_mib[y] && block_.free_cores[x] == block_.free_cores[y] &&
         block_.total_cores[x] == block_.total_cores[y] && block_.free_slots[x] == block_.free_slots[y] &&
         block_.total_slots[x] == block_.total_slots[y];
}

void Trial::Measure(Shortfall& shortfall, const Item& item, std::uint32_t p) const {
  const std::uint32_t d = node_.first + p;
  const bool cores = shortfall.reason == Reason::kCores;
  const std::int64_t free = cores ? block_.free_cores[d] : block_.free_mib[d];
  const std::int64_t total = cores ? block_.total_cores[d] : block_.total_mib[d];
  shortfall.capacity = std::max(shortfall.capacity, total);
  if (shortfall.position >= 0 && free <= shortfall.free) return;
  shortfall.free = free;
  shortfall.needed = cores ? item.request->cores : MibOf(item, p);
  shortfall.position = static_cast<std::int32_t>(p);
}

// Of the devices that failed for `reason`, the one that lacks least.
Shortfall Trial::Short(const Item& item, Reason reason) const {
  Shortfall shortfall{.reason = reason};
  for (std::uint32_t p = 0; p < node_.count; ++p) {
    if (Judge(item, p) == reason) Measure(shortfall, item, p);
  }
  return shortfall;
}

Shortfall Trial::Explain() {
  for (const Item& item : items_) {
    const std::int64_t needed = item.request->count;
    if (node_.count < needed) return {.reason = Reason::kTooFewDevices, .needed = needed, .free = node_.count};
    std::int64_t fitting = 0;
    Reason farthest = Reason::kUnhealthy;
    for (std::uint32_t p = 0; p < node_.count; ++p) {
      const Reason reason = Judge(item, p);
      if (reason == Reason::kTogether) {
        ++fitting;
      } else {
        farthest = std::max(farthest, reason);
      }
    }
    if (fitting == 0) return Short(item, farthest);
    if (fitting < needed) return {.reason = Reason::kSomeOnly, .needed = needed, .free = fitting};
    if (Groups(item).empty()) return {.reason = Reason::kNuma, .needed = needed, .free = fitting};
  }
  return {.reason = Reason::kTogether};
}

device::Allocation Trial::Result() const {
  device::Allocation allocation{.node = (*block_.infos)[row_]->name, .containers = {}};
  for (const auto& container : ask_.request().containers) {
    allocation.containers.push_back(
        {.name = container.name, .kind = container.kind, .priority = container.priority, .vendor = "", .shares = {}});
  }
  for (std::size_t i = 0; i < items_.size(); ++i) {
    auto& container = allocation.containers[items_[i].container];
    container.vendor = items_[i].request->vendor;
    for (const std::uint32_t p : picks_[i]) {
      container.shares.push_back({DeviceAt(p).uuid, static_cast<std::int32_t>(MibOf(items_[i], p)), items_[i].request->cores});
    }
  }
  return allocation;
}

}  // namespace

std::optional<device::Allocation> PlaceOnNode(const Block& block, std::uint32_t row, const Ask& ask) {
  if (!ask.MayFit(block, block.rows[row])) return std::nullopt;
  Trial trial(block, row, ask);
  if (!trial.Place()) return std::nullopt;
  return trial.Result();
}

Shortfall MeasureNode(const Block& block, std::uint32_t row, const Ask& ask) {
  const NodeRow& node = block.rows[row];
  if (!node.present) return {.reason = Reason::kUnknownNode};
  if (!node.open) return {.reason = Reason::kQuarantined};
  if (node.count == 0) return {.reason = Reason::kNoDevices};
  return Trial(block, row, ask).Explain();
}

Shortfall ExplainNode(const Block& block, std::uint32_t row, const Ask& ask) {
  Shortfall shortfall = MeasureNode(block, row, ask);
  if (shortfall.reason == Reason::kUnknownNode) return shortfall;
  const auto& info = (*block.infos)[row];  // null for a node that never published anything
  if (info && shortfall.reason == Reason::kQuarantined) shortfall.detail = info->quarantine;
  if (info && shortfall.position >= 0) shortfall.device = info->inventory.devices[static_cast<std::size_t>(shortfall.position)].index;
  return shortfall;
}

}  // namespace partage::scheduler
