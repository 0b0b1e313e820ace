// SPDX-License-Identifier: Apache-2.0
#include "scheduler/preemption/preemptor.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/fault_point.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/ticker.h"
#include "metrics/catalog.h"
#include "scheduler/engine/placement.h"
#include "scheduler/preemption/chooser.h"

namespace partage::scheduler {
namespace {

using Evicted = ClusterApi::Evicted;
using Uids = std::unordered_set<PodUid, PodUid::Hash>;

constexpr std::size_t kPodsLookedAt = 1'000;
// Each protected pod costs one look at all nodes.
constexpr int kChoices = 16;
// A victim that does not end in this time holds up its preemptor no longer.
constexpr std::chrono::minutes kLongestWait{30};

/// Why a try for one pod came to nothing; the metric's label.
enum class Outcome { kEvicting, kComingFree, kNobody, kProtected, kLost, kFailed };

std::string_view ToString(Outcome outcome) {
  switch (outcome) {
    case Outcome::kEvicting: return "evicting";
    case Outcome::kComingFree: return "coming_free";
    case Outcome::kNobody: return "nobody";
    case Outcome::kProtected: return "protected";
    case Outcome::kLost: return "lost";
    case Outcome::kFailed: return "failed";
  }
  return "failed";
}

/// A pod for which others were asked to leave.
struct Pending {
  PodRef pod;
  std::vector<PodUid> victims;
  std::vector<PodRef> unsent;  // whose eviction is not known to have arrived
  Clock::Mono give_up;
  bool promised_by_us = false;  // the nomination is ours to take back, whichever replica wrote it
};

struct Pause {
  Clock::Mono until;
  std::chrono::milliseconds length;
};

Cluster::Placer PlacerOf(const Ask& ask) {
  return [&ask](const Block& block, std::uint32_t row) -> Result<device::Allocation> {
    if (auto allocation = PlaceOnNode(block, row, ask)) return std::move(*allocation);
    return Fail(Code::kConflict, "no longer fits");
  };
}

std::vector<PodUid> UidsOf(const Plan& plan) {
  std::vector<PodUid> uids;
  for (const auto& victim : plan.victims) uids.push_back(victim.uid);
  return uids;
}

// Without numbers that change: equal events are counted together.
PodEvent PreemptingEvent(const PodRef& pod, const std::string& node) {
  return {.pod = pod,
          .warning = false,
          .reason = "Preempting",
          .action = "Preempting",
          .note = fmt::format("Preempting pods of lower priority on node {}; their share is held for this pod", node)};
}

PodEvent PreemptedEvent(const PodRef& victim, const PodRef& pod, const std::string& node) {
  return {.pod = victim,
          .warning = false,
          .reason = "Preempted",
          .action = "Preempting",
          .note = fmt::format("Preempted by pod {} on node {}", pod.FullName(), node)};
}

PodEvent ProtectedEvent(const PodRef& pod) {
  return {.pod = pod,
          .warning = true,
          .reason = "PreemptionBlocked",
          .action = "Preempting",
          .note = "Pods of lower priority hold what this pod needs, but PodDisruptionBudgets protect them"};
}

}  // namespace

class Preemptor::Impl {
 public:
  Impl(Engine& engine, ClusterApi& api, EventSink& events, const Clock& clock, Options options, metrics::Registry& registry)
      : engine_(engine),
        cluster_(engine.cluster()),
        api_(api),
        events_(events),
        clock_(clock),
        options_(options),
        fence_(options.fence != nullptr ? *options.fence : open_),
        registry_(registry),
        evicted_(registry.GetCounter(metrics::kPreemptionVictims)),
        protected_(registry.GetCounter(metrics::kPreemptionProtected)),
        next_try_(clock.Now()) {}

  ~Impl() { Stop(); }

  void Tick() {
    const MutexLock lock(mutex_);
    const auto term = fence_.CurrentTerm();
    if (!term) return;  // claims end by themselves
    for (const Nomination& nomination : engine_.TakeNominations()) Adopt(nomination);
    LookAfter(*term);
    if (clock_.Now() < next_try_) return;
    const auto waiting = engine_.Preemptors(kPodsLookedAt);
    ForgetPauses();
    auto due = waiting.begin();
    while (due != waiting.end() && !Due(*due)) ++due;
    if (due == waiting.end()) return;
    next_try_ = clock_.Now() + options_.min_interval;
    const Outcome outcome = Try(*due, *term);
    registry_.GetCounter(metrics::kPreemptionAttempts, {std::string(ToString(outcome))}).Inc();
    if (outcome == Outcome::kProtected) events_.Post(ProtectedEvent(due->pod));
    outcome == Outcome::kEvicting ? void(pauses_.erase(due->pod.uid)) : PauseFor(due->pod.uid);
  }

  std::size_t pending() const {
    const MutexLock lock(mutex_);
    return pending_.size();
  }

  void Start() {
    ticker_.Start(options_.tick, [this] { Tick(); });
  }
  void Stop() { ticker_.Stop(); }

 private:
  // ---- Pods that were promised a node ----

  // By a replica that evicted others for it and is no more, or by kube-scheduler: the claim is ours to look after now.
  void Adopt(const Nomination& nomination) PARTAGE_REQUIRES(mutex_) {
    const PodRef& pod = nomination.pod;
    if (pending_.contains(pod.uid)) return;
    if (cluster_.ClaimedNode(pod) != nomination.node && !engine_.ClaimNominated(nomination)) return;
    Pending pending{pod, {}, {}, clock_.Now() + kLongestWait, nomination.by_partage};
    const auto tenancy = cluster_.Inspect(nomination.node);
    for (const auto& tenant : tenancy ? tenancy->tenants : std::vector<Cluster::Tenant>()) {
      if (tenant.terminating) pending.victims.push_back(tenant.uid);
    }
    cluster_.RenewClaim(pod, options_.hold);
    log::info("pod {} was promised node {}, where {} pods are leaving: their share is held for it", pod.FullName(), nomination.node,
              pending.victims.size());
    pending_.insert_or_assign(pod.uid, std::move(pending));
  }

  // Before anybody is evicted, so that a replica that takes over knows for whom.
  Outcome Promise(const PodRef& pod, const std::string& node, WriteFence::Term term) PARTAGE_REQUIRES(mutex_) {
    const auto promised = Nominate(pod, node, term);
    if (promised) return Outcome::kEvicting;
    const Code code = promised.error().code;
    if (code == Code::kNotFound || code == Code::kConflict) return Outcome::kLost;
    const auto outcome = Failed(promised.error());
    return code == Code::kInvalid ? Outcome::kEvicting : outcome;  // a role without patch on pods/status: only a fail-over would need it
  }

  void Withdraw(const PodRef& pod, WriteFence::Term term) PARTAGE_REQUIRES(mutex_) {
    if (const auto done = Nominate(pod, "", term); !done && done.error().code != Code::kNotFound) (void)Failed(done.error());
  }

  Result<> Nominate(const PodRef& pod, const std::string& node, WriteFence::Term term) PARTAGE_REQUIRES(mutex_) {
    const auto permit = fence_.BeginWrite(term);
    if (!permit) return Fail(permit.error());
    return api_.Nominate({pod.ns, pod.name, pod.uid, node});
  }

  // ---- Pods whose victims are leaving ----

  void LookAfter(WriteFence::Term term) PARTAGE_REQUIRES(mutex_) {
    for (auto entry = pending_.begin(); entry != pending_.end();)
      entry = Ended(entry->second, term) ? pending_.erase(entry) : std::next(entry);
  }

  bool Ended(Pending& pending, WriteFence::Term term) PARTAGE_REQUIRES(mutex_) {
    const auto node = cluster_.ClaimedNode(pending.pod);
    if (!node) {  // it fits now, or it is gone, or its time is over
      if (!StillUnplaced(pending.pod)) return true;
      engine_.NoPreemptor(pending.pod.uid);  // it did not come for its room: whether it still wants any its next filter tells
      if (pending.promised_by_us) Withdraw(pending.pod, term);
      return true;
    }
    std::erase_if(pending.victims, [this](const PodUid& uid) { return !cluster_.Who(uid); });
    if (pending.victims.empty()) return false;  // from here on the claim's own time runs
    if (clock_.Now() >= pending.give_up) return Drop(pending, term);
    cluster_.RenewClaim(pending.pod, options_.hold);
    for (const PodRef& victim : std::exchange(pending.unsent, {})) {
      const auto answer = Evict(victim, pending.pod, term);
      if (!answer && answer.error().code == Code::kNotFound) return true;
      if (!answer && answer.error().code != Code::kInvalid) pending.unsent.push_back(victim);
      if (answer == Evicted::kYes || answer == Evicted::kGone) cluster_.NoteEvicted(PodUid(victim.uid));
      if (answer == Evicted::kYes) Tell(victim, pending.pod, *node);
      if (answer && *answer != Evicted::kProtected) continue;
      if (pending.unsent.empty()) return Drop(pending, term);  // it stays: others must be chosen
    }
    return false;
  }

  bool Drop(const Pending& pending, WriteFence::Term term) PARTAGE_REQUIRES(mutex_) {
    cluster_.DropClaim(pending.pod);
    if (pending.promised_by_us) Withdraw(pending.pod, term);
    return true;
  }

  bool StillUnplaced(const PodRef& pod) const {
    const auto known = engine_.Find(pod.ns, pod.name);
    return known && known->pod.uid == pod.uid && !cluster_.NominalNode(pod);
  }

  // The node is told to it: the claim may have been used up while the eviction was answered.
  void Tell(const PodRef& victim, const PodRef& pod, const std::string& node) PARTAGE_REQUIRES(mutex_) {
    evicted_.Inc();
    events_.Post(PreemptedEvent(victim, pod, node));
    log::info("evicted pod {} (priority {}) for pod {} (priority {})", victim.FullName(), victim.priority, pod.FullName(), pod.priority);
  }

  // ---- Whose turn it is ----

  bool Due(const Engine::Preemptor& waiting) PARTAGE_REQUIRES(mutex_) {
    if (pending_.contains(waiting.pod.uid) || cluster_.ClaimedNode(waiting.pod)) return false;
    const auto pause = pauses_.find(waiting.pod.uid);
    return (pause == pauses_.end() || pause->second.until <= clock_.Now()) && CurrentIndex(waiting) != nullptr;
  }

  // Null where nodes have come or gone since the pod's last filter: what kube-scheduler thinks of them now is not known.
  std::shared_ptr<const Snapshot> CurrentIndex(const Engine::Preemptor& waiting) const {
    auto snapshot = cluster_.snapshot();
    return waiting.index.lock() == snapshot->index ? snapshot : nullptr;
  }

  void PauseFor(const std::string& uid) PARTAGE_REQUIRES(mutex_) {
    const auto known = pauses_.find(uid);
    const auto length = known == pauses_.end() ? options_.first_pause : std::min(known->second.length * 2, options_.longest_pause);
    pauses_.insert_or_assign(uid, Pause{clock_.Now() + length, length});
  }

  void ForgetPauses() PARTAGE_REQUIRES(mutex_) {
    const auto now = clock_.Now();
    std::erase_if(pauses_, [&](const auto& entry) { return now >= entry.second.until + 2 * options_.longest_pause; });
  }

  // ---- One try ----

  Outcome Try(const Engine::Preemptor& waiting, WriteFence::Term term) PARTAGE_REQUIRES(mutex_) {
    const auto snapshot = CurrentIndex(waiting);
    if (snapshot == nullptr || cluster_.InFlight(waiting.pod)) return Outcome::kLost;
    const Ask ask(*waiting.request, engine_.PoliciesFor(*waiting.request), *snapshot->kinds);
    std::vector<std::string_view> nodes;
    for (const NodeId id : *waiting.nodes) nodes.push_back(snapshot->index->Name(id));
    Uids spared;
    for (int choice = 0; choice < kChoices; ++choice) {
      const auto plan = ChoosePlan(cluster_, nodes, {ask, waiting.pod.priority, [&](const PodUid& uid) { return spared.contains(uid); }});
      if (!plan) return spared.empty() ? Outcome::kNobody : Outcome::kProtected;
      if (plan->victims.empty()) return Outcome::kComingFree;
      FaultPoint("preempt.claim.before");
      const auto claimed =
          cluster_.Claim(waiting.pod, plan->node, options_.hold, UidsOf(*plan), PlacerOf(ask), waiting.request->quota_traits);
      // Its quota has been used up since its last filter; whoever is evicted, the next one will tell it so.
      if (!claimed && claimed.error().code == Code::kInvalid) return Outcome::kLost;
      if (!claimed) continue;
      FaultPoint("preempt.claim.after");
      const auto outcome = Carry(waiting.pod, *plan, spared, term);
      if (outcome != Outcome::kEvicting) cluster_.DropClaim(waiting.pod);
      if (outcome != Outcome::kProtected) return outcome;
    }
    return spared.empty() ? Outcome::kLost : Outcome::kProtected;
  }

  // kProtected: one of them may not be evicted, and is among the spared now.
  Outcome Carry(const PodRef& pod, const Plan& plan, Uids& spared, WriteFence::Term term) PARTAGE_REQUIRES(mutex_) {
    std::vector<PodRef> victims;
    for (const auto& victim : plan.victims) {
      if (auto who = cluster_.Who(victim.uid)) victims.push_back(*std::move(who));
    }
    if (const auto asked = AskAll(victims, spared, term); asked != Outcome::kEvicting) return asked;
    if (!StillWaits(pod)) return Outcome::kLost;
    if (const auto promised = Promise(pod, plan.node, term); promised != Outcome::kEvicting) return promised;
    const auto outcome = EvictAll(pod, plan, victims, spared, term);
    if (outcome != Outcome::kEvicting) Withdraw(pod, term);
    return outcome;
  }

  // All are asked, so that one look at the nodes learns of every budget.
  Outcome AskAll(const std::vector<PodRef>& victims, Uids& spared, WriteFence::Term term) PARTAGE_REQUIRES(mutex_) {
    bool all = true;
    for (const PodRef& victim : victims) {
      const auto answer = AskToEvict(victim, term);
      if (!answer && answer.error().code != Code::kUnknown) return Failed(answer.error());
      if (answer && *answer != Evicted::kProtected) continue;
      Spare(victim, spared);
      all = false;
    }
    return all ? Outcome::kEvicting : Outcome::kProtected;
  }

  void Spare(const PodRef& victim, Uids& spared) PARTAGE_REQUIRES(mutex_) {
    protected_.Inc();
    spared.insert(PodUid(victim.uid));
  }

  Outcome Failed(const Error& error) PARTAGE_REQUIRES(mutex_) {
    // Once, not at every try.
    if (std::exchange(complaint_, error.message) != complaint_) log::warn("preemption: {}", complaint_);
    return Outcome::kFailed;
  }

  bool StillWaits(const PodRef& pod) PARTAGE_REQUIRES(mutex_) {
    const auto live = api_.GetPod(pod.ns, pod.name);
    if (live) return PodUid(live->uid) == PodUid(pod.uid) && live->node_name.empty() && !live->deleting && !live->terminal();
    if (live.error().code == Code::kNotFound) engine_.Forget(pod.uid);
    return false;
  }

  Outcome EvictAll(const PodRef& pod, const Plan& plan, const std::vector<PodRef>& victims, Uids& spared, WriteFence::Term term)
      PARTAGE_REQUIRES(mutex_) {
    Pending pending{pod, UidsOf(plan), {}, clock_.Now() + kLongestWait, true};
    bool begun = false;
    for (const PodRef& victim : victims) {
      const auto answer = Evict(victim, pod, term);
      if (!answer && answer.error().code == Code::kNotFound) return Outcome::kLost;
      if (answer == Evicted::kProtected) {  // the budget was used up since, perhaps by another victim
        Spare(victim, spared);
        return Outcome::kProtected;
      }
      if (!answer && !begun && answer.error().code != Code::kUnknown) return Failed(answer.error());
      begun = true;
      if (!answer) {
        pending.unsent.push_back(victim);
        continue;
      }
      cluster_.NoteEvicted(PodUid(victim.uid));
      if (*answer == Evicted::kYes) Tell(victim, pod, plan.node);
    }
    complaint_.clear();
    events_.Post(PreemptingEvent(pod, plan.node));
    pending_.insert_or_assign(pod.uid, std::move(pending));
    return Outcome::kEvicting;
  }

  // kNotFound: the waiting pod has no claim any more. An answer takes seconds where the API server is slow: it may be gone by now, or fit elsewhere.
  Result<Evicted> Evict(const PodRef& victim, const PodRef& pod, WriteFence::Term term) PARTAGE_REQUIRES(mutex_) {
    FaultPoint("preempt.evict.before");
    if (!cluster_.ClaimedNode(pod)) return Fail(Code::kNotFound, "pod {} has no claim any more", pod.FullName());
    auto answer = Send(victim, false, term);
    FaultPoint("preempt.evict.after");
    return answer;
  }

  Result<Evicted> AskToEvict(const PodRef& victim, WriteFence::Term term) PARTAGE_REQUIRES(mutex_) {
    FaultPoint("preempt.ask.before");
    auto answer = Send(victim, true, term);
    FaultPoint("preempt.ask.after");
    return answer;
  }

  Result<Evicted> Send(const PodRef& victim, bool dry_run, WriteFence::Term term) PARTAGE_REQUIRES(mutex_) {
    const auto permit = fence_.BeginWrite(term);
    if (!permit) return Fail(permit.error());
    return api_.Evict({.ns = victim.ns, .name = victim.name, .uid = victim.uid, .dry_run = dry_run, .send_by = permit->send_by()});
  }

  Engine& engine_;
  Cluster& cluster_;
  ClusterApi& api_;
  EventSink& events_;
  const Clock& clock_;
  const Options options_;
  OpenFence open_;
  WriteFence& fence_;
  metrics::Registry& registry_;
  const metrics::Registry::Counter evicted_, protected_;

  mutable Mutex mutex_;
  std::unordered_map<std::string, Pending> pending_ PARTAGE_GUARDED_BY(mutex_);  // by the waiting pod's UID
  std::unordered_map<std::string, Pause> pauses_ PARTAGE_GUARDED_BY(mutex_);
  std::string complaint_ PARTAGE_GUARDED_BY(mutex_);  // the last failure told
  Clock::Mono next_try_ PARTAGE_GUARDED_BY(mutex_);
  Ticker ticker_;
};

Preemptor::Preemptor(Engine& engine, ClusterApi& api, EventSink& events, const Clock& clock, Options options, metrics::Registry& registry)
    : impl_(std::make_unique<Impl>(engine, api, events, clock, options, registry)) {}
Preemptor::~Preemptor() = default;
void Preemptor::Tick() { impl_->Tick(); }
std::size_t Preemptor::pending() const { return impl_->pending(); }
void Preemptor::Start() { impl_->Start(); }
void Preemptor::Stop() { impl_->Stop(); }

}  // namespace partage::scheduler
