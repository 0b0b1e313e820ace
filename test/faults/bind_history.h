// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "main/watch_sinks.h"
#include "metrics/registry.h"
#include "scheduler/engine/engine.h"
#include "scheduler/extender/bind_attempt.h"
#include "scheduler/extender/confirmer.h"
#include "scheduler/extender/pod_request.h"
#include "scheduler/extender/write_fence.h"
#include "scheduler/preemption/preemptor.h"
#include "test/faults/in_process_api.h"
#include "test/support/manual_clock.h"

namespace partage::test {

/// The namespace that quotas limit; one of them only pods of this priority.
inline constexpr const char* kCapped = "d";
inline constexpr std::int32_t kUrgent = 100;

/// How often what happened, over many histories: a test of faults that never happen proves nothing.
using Happened = std::map<std::string, std::uint64_t, std::less<>>;

/// One life of a scheduler process: what it has in memory, and the binds it is at. Used by one thread.
class SchedulerLife {
 public:
  /// Reads the cluster whole, as every start does.
  SchedulerLife(FakeApiServer& server, InProcessApi& api, const ManualClock& clock, const vendors::Catalog& vendors);

  struct Bind {
    Bind(const scheduler::BindContext& context, const scheduler::PodRef& pod, const std::string& node, Clock::Mono until)
        : attempt(context, pod, node, until), deadline(until) {}
    scheduler::BindAttempt attempt;
    Clock::Mono deadline;
    bool running = false;  ///< some thread is at it
  };

  /// Filter, then the node it prefers; empty: none fits.
  std::string Filter(const k8s::Pod& pod);
  void StartBind(const scheduler::PodRef& pod, const std::string& node);
  bool Binding(const std::string& uid) const;
  /// One turn of a bind; ends it when it is over. The outcome, if so.
  std::optional<Result<>> Advance(Bind& bind);
  /// Ends binds whose time is up before anything was written, as the Binder does.
  void Expire();

  /// The preemptor's turn, and the confirmer's.
  void Preempt();
  void Confirm();
  /// A pod's filter on one node alone.
  bool Fits(const k8s::Pod& pod, std::string_view node);

  /// What others do while it waits for the API server.
  using Meanwhile = std::function<void()>;
  /// A full read through the sinks.
  void Relist(const Meanwhile& meanwhile);
  /// Whether events of the watch have not been seen.
  bool Behind() const;
  /// The next event of the watches; `again`: one seen before, out of its order.
  void SeeEvent(std::mt19937& dice, bool again);

  scheduler::Cluster& cluster() { return cluster_; }
  std::vector<std::unique_ptr<Bind>>& binds() { return binds_; }

 private:
  struct Seen {
    Kind kind;
    std::string type, text;
  };
  struct Silence final : scheduler::EventSink {
    void Post(scheduler::PodEvent) override {}
  };
  void Take(const Seen& event);
  bool BehindOn(Kind kind) const;
  scheduler::PodInput InputOf(const k8s::Pod& pod) const;
  template <class Sink, class Decode>
  void ListInto(Kind kind, Sink& sink, Decode decode, const Meanwhile& meanwhile);

  FakeApiServer& server_;
  const ManualClock& clock_;
  scheduler::Cluster cluster_;
  scheduler::Probe probe_;
  std::unique_ptr<scheduler::Engine> engine_;
  scheduler::PodRequests requests_;
  scheduler::OpenFence fence_;
  scheduler::BindContext context_;
  app::NodeSink node_sink_;
  app::PodSink pod_sink_;
  app::QuotaSink quota_sink_;
  Silence events_;
  metrics::Registry registry_;
  scheduler::Preemptor preemptor_;
  scheduler::Confirmer confirmer_;
  std::array<std::uint64_t, kKindCount> version_{};
  std::vector<Seen> seen_;
  std::vector<std::unique_ptr<Bind>> binds_;  // last: reservations give back to the cluster
};

/// What a pod was made with, to be held against what the ledger and the annotations say of it.
struct Asked {
  std::string full_name;
  std::int64_t mib = 0;  ///< on all its GPUs together
  std::int32_t priority = 0;
  bool never_preempts = false;
};

/// A random history of a small cluster, made by its seed alone: pods of several priorities come and go, are scheduled, bound and preempted, under quotas and
/// disruption budgets that come, change and go, in all weathers, with watches that lag, repeat and turn events round; and at fault points other threads take
/// their turn, or the process dies and another starts. Used by one thread, one at a time in a process.
class BindHistory {
 public:
  BindHistory(unsigned seed, bool tell, Happened& happened);
  ~BindHistory();

  /// Lives through it until everything has come to rest. Empty, or what is wrong then.
  std::string Run();

 private:
  void Step();
  void Submit();
  void End();
  void Schedule();
  void AdvanceSome();
  void SeeEvents();
  void PassTime();
  void ChangeWeather();
  void ChangeQuota();
  void ChangeBudget();
  void EndLeaving();
  void Promise();
  void Preempt();
  void TryWaiting();
  void NoteClaims();
  void CheckEviction(const k8s::Eviction& eviction);
  void CheckQuotas();
  void AtFaultPoint(std::string_view name);
  void TakeTurns(const std::string& when);
  void Die();
  void ComeToRest();
  void CheckOutcome(const scheduler::PodRef& pod, const std::string& node, const Result<>& outcome);
  std::string Judge();
  void EndAll();
  std::string JudgeEmpty();
  bool Holds(const std::string& uid, const Asked& asked);
  std::vector<k8s::Pod> Pods();
  int Below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(dice_); }
  bool OneIn(int n) { return Below(n) == 0; }
  void Tell(const std::string& what);

  std::mt19937 dice_;
  const bool tell_;
  Happened& happened_;
  const vendors::Catalog& vendors_;
  ManualClock clock_;
  FakeApiServer server_;
  InProcessApi api_;
  std::unique_ptr<SchedulerLife> life_;
  int pods_made_ = 0;
  std::vector<k8s::Pod> pods_;  // at the store's pods_version_: decoding them is a third of a history's time
  std::uint64_t pods_version_ = 0;
  std::map<std::string, Asked> asked_;                    // by UID
  std::vector<std::string> attempts_;                     // UIDs of the binds that are having their turn, inside one another
  bool preempting_ = false;                               // the preemptor has one thread
  bool reading_ = false;                                  // so has whoever lists and watches
  std::set<std::pair<std::string, std::string>> claims_;  // node and the ledger's word for a pod's UID, this turn of the preemptor
  int depth_ = 0;                                         // turns of other threads inside one another
  bool at_rest_ = false;
  std::string fault_;
};

}  // namespace partage::test
