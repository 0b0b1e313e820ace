// SPDX-License-Identifier: Apache-2.0
#include "scheduler/preemption/chooser.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <tuple>

#include "scheduler/engine/placement.h"

namespace partage::scheduler {
namespace {

using Tenant = Cluster::Tenant;
using Places = std::vector<std::uint32_t>;  // in Tenancy::tenants

/// What a set of victims costs: less is better.
struct Cost {
  std::size_t count = 0;
  std::vector<std::int32_t> priorities;  // highest first
  std::vector<std::int64_t> ages;        // oldest first; older is larger
  auto operator<=>(const Cost&) const = default;
};

Cost CostOf(const std::vector<Tenant>& tenants, const Places& victims) {
  Cost cost{victims.size(), {}, {}};
  for (const std::uint32_t v : victims) {
    cost.priorities.push_back(tenants[v].priority);
    cost.ages.push_back(-std::int64_t{tenants[v].created});
  }
  std::sort(cost.priorities.begin(), cost.priorities.end(), std::greater<>());
  std::sort(cost.ages.begin(), cost.ages.end(), std::greater<>());
  return cost;
}

/// One device by one item: then all victims of a smallest set share that device, and devices are searched one by one.
bool WantsOneDevice(const device::PodRequest& request) {
  std::int64_t devices = 0;
  for (const auto& container : request.containers) {
    for (const auto& wanted : container.devices) devices += wanted.count;
  }
  return devices == 1;
}

/// The search for the victims of one node. Used once, by one thread.
class Search {
 public:
  Search(const Cluster::Tenancy& tenancy, const Wish& wish, std::size_t at_most)
      : tenants_(tenancy.tenants), wish_(wish), trial_(tenancy.block), row_(tenancy.row), at_most_(at_most) {
    for (const Tenant& tenant : tenants_) {
      if (tenant.terminating) trial_.Apply(row_, tenant.shares, -1);
    }
  }

  std::optional<Places> Run() {
    if (!trial_.rows[row_].open) return std::nullopt;
    if (Fits()) return Places{};
    for (const Places& arena : Arenas()) Try(arena);
    return std::move(best_);
  }

 private:
  bool Fits() {
    ++tries_;
    if (wish_.ask.simple()) return wish_.ask.MayFit(trial_, trial_.rows[row_]);
    return PlaceOnNode(trial_, row_, wish_.ask).has_value();
  }
  void TakeOut(std::uint32_t tenant) { trial_.Apply(row_, tenants_[tenant].shares, -1); }
  void PutBack(std::uint32_t tenant) { trial_.Apply(row_, tenants_[tenant].shares, +1); }

  bool MayBeVictim(const Tenant& tenant) const {
    return tenant.state == Cluster::ShareState::kBound && !tenant.terminating && !tenant.troubled && !tenant.shares.empty() &&
           tenant.priority < wish_.priority && !wish_.spared(tenant.uid);
  }

  // Those who may be evicted, first whom to evict first.
  Places Eligible() const {
    Places eligible;
    for (std::uint32_t t = 0; t < tenants_.size(); ++t) {
      if (MayBeVictim(tenants_[t])) eligible.push_back(t);
    }
    std::sort(eligible.begin(), eligible.end(), [this](std::uint32_t a, std::uint32_t b) {
      const Tenant &x = tenants_[a], &y = tenants_[b];
      if (x.priority != y.priority) return x.priority < y.priority;
      return x.created != y.created ? x.created > y.created : x.uid.ToString() < y.uid.ToString();
    });
    return eligible;
  }

  std::vector<Places> Arenas() const {
    Places all = Eligible();
    if (!WantsOneDevice(wish_.ask.request())) return {std::move(all)};
    std::vector<Places> by_device(trial_.rows[row_].count);
    for (const std::uint32_t t : all) {
      for (const auto& share : tenants_[t].shares) by_device[share.position].push_back(t);
    }
    return by_device;
  }

  void Try(const Places& arena) {
    if (arena.empty()) return;
    for (const std::uint32_t t : arena) TakeOut(t);
    const bool enough = Fits();
    if (enough) Reprieve(arena);
    for (const std::uint32_t t : arena) PutBack(t);
    if (enough) Deepen(arena);
  }

  // A first answer: all are out; whoever can stay, stays, the most important first.
  void Reprieve(const Places& arena) {
    Places victims;
    for (auto t = arena.rbegin(); t != arena.rend(); ++t) {
      PutBack(*t);
      if (Fits()) continue;
      TakeOut(*t);
      victims.push_back(*t);
    }
    for (const std::uint32_t t : arena) {
      if (std::find(victims.begin(), victims.end(), t) == victims.end()) TakeOut(t);
    }
    Offer(victims);
  }

  void Offer(const Places& victims) {
    if (victims.size() > at_most_) return;
    Cost cost = CostOf(tenants_, victims);
    if (best_ && best_cost_ <= cost) return;
    best_ = victims;
    best_cost_ = std::move(cost);
  }

  // Sets of one, of two, …, up to the size that is known to do. Pods with like shares differ only in whom to evict first, so of each such class only the first
  // so many are tried.
  void Deepen(const Places& arena) {
    const auto classes = Classes(arena);
    const std::size_t known = best_ ? best_->size() : std::min(at_most_, arena.size());
    for (std::size_t size = 1; size <= known && !(best_ && best_->size() < size); ++size) {
      Places victims;
      Extend(classes, 0, size, victims);
      if (tries_ > kTries) return;
    }
  }

  std::vector<Places> Classes(const Places& arena) const {
    std::vector<Places> classes;
    for (const std::uint32_t t : arena) {
      const auto like =
          std::find_if(classes.begin(), classes.end(), [&](const Places& c) { return tenants_[c[0]].shares == tenants_[t].shares; });
      if (like == classes.end()) {
        classes.push_back({t});
      } else {
        like->push_back(t);
      }
    }
    return classes;
  }

  void Extend(const std::vector<Places>& classes, std::size_t from, std::size_t missing, Places& victims) {
    if (missing == 0) {
      if (Fits()) Offer(victims);
      return;
    }
    if (from == classes.size() || tries_ > kTries) return;
    Extend(classes, from + 1, missing, victims);
    const std::size_t before = victims.size();
    for (std::size_t n = 0; n < std::min(missing, classes[from].size()); ++n) {
      TakeOut(classes[from][n]);
      victims.push_back(classes[from][n]);
      Extend(classes, from + 1, missing - n - 1, victims);
    }
    while (victims.size() > before) {
      PutBack(victims.back());
      victims.pop_back();
    }
  }

  const std::vector<Tenant>& tenants_;
  const Wish& wish_;
  Block trial_;
  const std::uint32_t row_;
  const std::size_t at_most_;
  int tries_ = 0;
  std::optional<Places> best_;
  Cost best_cost_;
};

Plan PlanOf(std::string_view node, const Cluster::Tenancy& tenancy, const Places& victims) {
  Plan plan{std::string(node), {}};
  for (const std::uint32_t v : victims) plan.victims.push_back(tenancy.tenants[v]);
  return plan;
}

Cost CostOf(const Plan& plan) {
  Places all(plan.victims.size());
  std::iota(all.begin(), all.end(), 0U);
  return CostOf(plan.victims, all);
}

}  // namespace

std::optional<std::vector<std::uint32_t>> ChooseVictims(const Cluster::Tenancy& tenancy, const Wish& wish, std::size_t at_most) {
  return Search(tenancy, wish, at_most).Run();
}

std::optional<Plan> ChoosePlan(const Cluster& cluster, std::span<const std::string_view> nodes, const Wish& wish) {
  std::optional<Plan> best;
  for (std::size_t n = 0; n < nodes.size() && !(best && n >= kNodesCompared); ++n) {
    const auto tenancy = cluster.Inspect(nodes[n]);
    if (!tenancy) continue;
    const auto victims = ChooseVictims(*tenancy, wish, best ? best->victims.size() : std::numeric_limits<std::size_t>::max());
    if (!victims) continue;
    Plan plan = PlanOf(nodes[n], *tenancy, *victims);
    if (!best || CostOf(plan) < CostOf(*best)) best = std::move(plan);
    if (best->victims.empty()) break;
  }
  return best;
}

}  // namespace partage::scheduler
