// SPDX-License-Identifier: Apache-2.0
#include "scheduler/state/quota_ledger.h"

#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>

namespace partage::scheduler {
namespace {

std::uint32_t ToCharge(std::int64_t value) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(value, 0, std::numeric_limits<std::uint32_t>::max()));
}

bool Holds(const QuotaScope& scope, const device::QuotaTraits& traits) {
  switch (scope.trait) {
    case QuotaScope::Trait::kTerminating: return traits.terminating != scope.negated;
    case QuotaScope::Trait::kBestEffort: return traits.best_effort != scope.negated;
    case QuotaScope::Trait::kCrossNamespaceAffinity: return traits.cross_namespace_affinity != scope.negated;
    case QuotaScope::Trait::kPriorityClass: break;
  }
  const auto& classes = scope.classes;
  const bool named =
      classes.empty() ? !traits.priority_class.empty() : std::find(classes.begin(), classes.end(), traits.priority_class) != classes.end();
  return named != scope.negated;
}

bool Counts(const QuotaObservation& quota, const device::QuotaTraits& traits) {
  return std::all_of(quota.scopes.begin(), quota.scopes.end(), [&](const QuotaScope& scope) { return Holds(scope, traits); });
}

std::int64_t Need(const QuotaLimit& limit, const QuotaLedger::Usage& usage) {
  std::int64_t need = 0;
  for (const auto& each : usage) {
    if (each.vendor == limit.vendor) need += limit.of == QuotaLimit::Of::kMemory ? each.mib : each.cores;
  }
  return need;
}

std::string_view UnitOf(const QuotaLimit& limit) { return limit.of == QuotaLimit::Of::kMemory ? " MiB" : " % of a card"; }

// What is taken by others is not named: the text of an event must stay the same while the facts do.
std::string OverText(const QuotaObservation& quota, const QuotaLimit& limit, std::int64_t need, bool alone) {
  const auto unit = UnitOf(limit);
  if (alone) {
    return fmt::format("ResourceQuota {}: {} allows {}{} in all, this pod alone asks for {}", quota.FullName(), limit.key, limit.most, unit,
                       need);
  }
  return fmt::format("ResourceQuota {}: of the {}{} that {} allows too little is left for {}", quota.FullName(), limit.most, unit,
                     limit.key, need);
}

}  // namespace

// --- Charges ---

std::uint32_t QuotaLedger::GroupOf(Space& space, std::string_view ns, const device::QuotaTraits& traits, std::string_view vendor) {
  for (const std::uint32_t id : space.groups) {
    if (groups_[id].vendor == vendor && groups_[id].traits == traits) return id;
  }
  std::uint32_t id = static_cast<std::uint32_t>(groups_.size());
  if (free_groups_.empty()) {
    groups_.emplace_back();
  } else {
    id = free_groups_.back();
    free_groups_.pop_back();
  }
  groups_[id] = {std::string(ns), std::string(vendor), traits, {}};
  space.groups.push_back(id);
  return id;
}

QuotaLedger::Charge QuotaLedger::TakeOne(Space& space, std::string_view ns, const device::QuotaTraits& traits,
                                         const device::VendorUsage& usage) {
  const Charge charge{GroupOf(space, ns, traits, usage.vendor), ToCharge(usage.mib), ToCharge(usage.cores)};
  Sum& sum = groups_[charge.group].sum;
  sum.mib += charge.mib;
  sum.cores += charge.cores;
  ++sum.pods;
  return charge;
}

QuotaLedger::Charge QuotaLedger::Take(const PodUid& uid, std::string_view ns, const device::QuotaTraits& traits, const Usage& usage) {
  if (usage.empty()) return {};
  auto space = spaces_.find(ns);
  if (space == spaces_.end()) space = spaces_.emplace(std::string(ns), Space()).first;
  for (std::size_t i = 1; i < usage.size(); ++i) more_[uid].push_back(TakeOne(space->second, ns, traits, usage[i]));
  return TakeOne(space->second, ns, traits, usage.front());
}

void QuotaLedger::GiveBackOne(const Charge& charge) {
  Group& group = groups_[charge.group];
  group.sum.mib -= charge.mib;
  group.sum.cores -= charge.cores;
  const auto space = spaces_.find(group.ns);
  freed_ = freed_ || !space->second.quotas.empty();
  if (--group.sum.pods > 0) return;
  std::erase(space->second.groups, charge.group);
  group = {};
  free_groups_.push_back(charge.group);
  DropIfEmpty(space);
}

void QuotaLedger::GiveBack(const PodUid& uid, const Charge& charge) {
  if (charge.group == Charge::kNone) return;
  GiveBackOne(charge);
  const auto more = more_.find(uid);
  if (more == more_.end()) return;
  for (const Charge& each : more->second) GiveBackOne(each);
  more_.erase(more);
}

bool QuotaLedger::HasTraits(const Charge& charge, const device::QuotaTraits& traits) const {
  return charge.group == Charge::kNone || groups_[charge.group].traits == traits;
}

void QuotaLedger::DropIfEmpty(Spaces::iterator space) {
  if (space->second.groups.empty() && space->second.quotas.empty()) spaces_.erase(space);
}

// --- Quotas ---

void QuotaLedger::Observe(QuotaObservation quota) {
  if (quota.limits.empty() && quota.error.empty()) return Forget(quota.ns, quota.name);
  Known& known = spaces_[quota.ns].quotas[quota.name];
  known.listed = true;
  const auto version = known.quota.resource_version;
  if (quota.resource_version != 0 && quota.resource_version < version) return;
  known.quota = std::move(quota);
  freed_ = true;
}

void QuotaLedger::Forget(std::string_view ns, std::string_view name) {
  const auto space = spaces_.find(ns);
  if (space == spaces_.end()) return;
  const auto quota = space->second.quotas.find(name);
  if (quota == space->second.quotas.end()) return;
  space->second.quotas.erase(quota);
  freed_ = true;
  DropIfEmpty(space);
}

void QuotaLedger::BeginList() {
  for (auto& [ns, space] : spaces_) {
    for (auto& [name, known] : space.quotas) known.listed = false;
  }
}

void QuotaLedger::EndList() {
  for (auto space = spaces_.begin(); space != spaces_.end();) {
    const auto here = space++;
    const auto gone = std::erase_if(here->second.quotas, [](const auto& entry) { return !entry.second.listed; });
    freed_ = freed_ || gone > 0;
    DropIfEmpty(here);
  }
}

QuotaLedger::Sum QuotaLedger::Used(const Space& space, const QuotaObservation& quota, std::string_view vendor) const {
  Sum used;
  for (const std::uint32_t id : space.groups) {
    const Group& group = groups_[id];
    if (group.vendor != vendor || !Counts(quota, group.traits)) continue;
    used.mib += group.sum.mib;
    used.cores += group.sum.cores;
    used.pods += group.sum.pods;
  }
  return used;
}

bool QuotaLedger::Limits(std::string_view ns) const {
  const auto space = spaces_.find(ns);
  return space != spaces_.end() && !space->second.quotas.empty();
}

// Of the quotas that are asked, the first that does not allow `usage` beside what is used of it before.
template <class Asks, class UsedBefore>
std::optional<std::string> QuotaLedger::FirstRefusal(std::string_view ns, const Usage& usage, Asks asks, UsedBefore used_before) const {
  const auto space = spaces_.find(ns);
  if (space == spaces_.end()) return std::nullopt;
  for (const auto& [name, known] : space->second.quotas) {
    const QuotaObservation& quota = known.quota;
    if (!asks(quota)) continue;
    if (!quota.error.empty()) {
      return fmt::format("ResourceQuota {}: {}; until it is corrected nothing more is handed out in this namespace", quota.FullName(),
                         quota.error);
    }
    for (const QuotaLimit& limit : quota.limits) {
      const std::int64_t need = Need(limit, usage);
      if (need == 0) continue;
      const Sum used = used_before(space->second, quota, limit.vendor);
      const std::int64_t taken = limit.of == QuotaLimit::Of::kMemory ? used.mib : used.cores;
      if (need > limit.most - std::min(taken, limit.most)) return OverText(quota, limit, need, need > limit.most);
    }
  }
  return std::nullopt;
}

std::optional<std::string> QuotaLedger::Refusal(std::string_view ns, const device::QuotaTraits& traits, const Usage& usage) const {
  return FirstRefusal(
      ns, usage, [&](const QuotaObservation& quota) { return Counts(quota, traits); },
      [this](const Space& space, const QuotaObservation& quota, std::string_view vendor) { return Used(space, quota, vendor); });
}

std::optional<std::string> QuotaLedger::RefusalAlone(std::string_view ns, const Usage& usage) const {
  return FirstRefusal(
      ns, usage, [](const QuotaObservation& quota) { return quota.scopes.empty(); },
      [](const Space&, const QuotaObservation&, std::string_view) { return Sum{}; });
}

void QuotaLedger::Visit(const std::function<void(const Entry&)>& visit) const {
  for (const auto& [ns, space] : spaces_) {
    for (const auto& [name, known] : space.quotas) {
      for (const QuotaLimit& limit : known.quota.limits) {
        const Sum used = Used(space, known.quota, limit.vendor);
        visit({ns, name, limit.key, limit.of == QuotaLimit::Of::kMemory ? used.mib : used.cores, limit.most});
      }
    }
  }
}

Result<> QuotaLedger::CheckSums(const std::vector<std::pair<PodUid, Charge>>& charges) const {
  std::vector<Sum> sums(groups_.size());
  std::size_t several = 0;
  const auto add = [&](const Charge& charge) {
    sums[charge.group].mib += charge.mib;
    sums[charge.group].cores += charge.cores;
    ++sums[charge.group].pods;
  };
  for (const auto& [uid, charge] : charges) {
    if (charge.group == Charge::kNone) continue;
    add(charge);
    const auto more = more_.find(uid);
    if (more == more_.end()) continue;
    ++several;
    std::for_each(more->second.begin(), more->second.end(), add);
  }
  if (several != more_.size()) return Fail(Code::kInternal, "quota charges of {} pods that hold nothing", more_.size() - several);
  for (std::size_t id = 0; id < groups_.size(); ++id) {
    if (sums[id] == groups_[id].sum) continue;
    return Fail(Code::kInternal, "namespace {}: {} MiB and {} cores charged, pods hold {} and {}", groups_[id].ns, groups_[id].sum.mib,
                groups_[id].sum.cores, sums[id].mib, sums[id].cores);
  }
  return {};
}

}  // namespace partage::scheduler
