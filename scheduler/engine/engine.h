// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "device/request.h"
#include "scheduler/engine/ask.h"
#include "scheduler/engine/decision_log.h"
#include "scheduler/engine/diagnosis.h"
#include "scheduler/engine/nominations.h"
#include "scheduler/engine/probe.h"
#include "scheduler/framework/policy.h"
#include "scheduler/state/cluster.h"
#include "vendors/vendor.h"

namespace partage::scheduler {

/// How many fitting nodes a filter answers with.
struct Shortlist {
  bool automatic = true;  ///< one node, or `k` when the pod states a soft preference
  std::size_t k = 64;     ///< with automatic false: always this many
  /// "auto" or a number ≥ 1. kInvalid otherwise.
  static Result<Shortlist> Parse(std::string_view text);
};

struct EngineOptions {
  std::string node_policy = "binpack";                    ///< default of pods that name none (HAMi's)
  std::vector<std::string> device_policies = {"spread"};  ///< likewise
  Shortlist shortlist;
  std::chrono::milliseconds nominal_ttl{15000};
};

/// The nodes a call asks about, by name. Whoever looked the names up already passes the ids along.
struct Candidates {
  std::span<const std::string_view> names;
  std::span<const NodeId> ids;       ///< of the names, in `index`; or none, then the engine looks them up
  const NodeIndex* index = nullptr;  ///< of some snapshot; must outlive the call

  Candidates(std::span<const std::string_view> all) : names(all) {}                     // NOLINT: names alone are candidates
  Candidates(const std::vector<std::string_view>& all) : Candidates(std::span(all)) {}  // NOLINT: the same
  Candidates(std::span<const std::string_view> all, std::span<const NodeId> found, const NodeIndex* in)
      : names(all), ids(found), index(in) {}
};

/// One refused node: why, in words that stay the same while the facts do.
struct Refusal {
  std::string_view node;      ///< from the candidates
  std::uint32_t text = 0;     ///< index into FilterOutcome::texts
  bool unresolvable = false;  ///< no eviction on that node could help
};

struct FilterOutcome {
  std::vector<NodeId> fitting;                  ///< best first, at most the shortlist
  std::vector<std::string_view> fitting_names;  ///< same order, views into the candidates
  std::vector<Refusal> refusals;                ///< of every candidate, only when nothing fits
  std::vector<std::string> texts;
};

/// A pod in front of the scheduler.
struct PodInput {
  PodRef pod;
  /// The parsed request, or why it cannot be served at all (shown to the user on every node).
  Result<std::shared_ptr<const device::PodRequest>> request;
  bool has_soft_preferences = false;
  bool never_preempts = false;
};

/// The scheduler proper: filter → score → choose devices → reserve, over the Cluster. Knows no wire format. Thread-safe.
class Engine {
 public:
  /// kInvalid: a default policy is not registered, or not of the right kind.
  static Result<std::unique_ptr<Engine>> Make(Cluster& cluster, const Clock& clock, EngineOptions options, Probe& probe);
  ~Engine();

  /// Which of the candidates can take the pod. Judged on one snapshot, with no lock held; then the best node gets a nominal share, so that the next
  /// filter does not hand out the same room. A pod that fits nowhere is remembered as waiting (see Waiting).
  /// Ends the pod's earlier nominal share; a claim becomes one if its room has come free and its node is among the candidates. Names not in the inventory are
  /// refused ("not a GPU node").
  FilterOutcome Filter(const PodInput& pod, const Candidates& candidates);

  /// 0 (worst) to 10 (best) for each candidate, in order; unfit or unknown ones 0. Moves the nominal share to the best.
  std::vector<int> Prioritize(const PodInput& pod, const Candidates& candidates);

  /// Takes the share for a Binding to `node`. `request` may be null: the one remembered from Filter is used.
  /// kNotFound with "no request": none remembered, fetch the pod and call again. Otherwise as Cluster::Reserve; kConflict also when it no longer fits.
  Result<Reservation> Reserve(const PodRef& pod, std::string_view node, std::shared_ptr<const device::PodRequest> request = nullptr);

  /// For Reserve and Nominated, of a pod that no filter has seen.
  void Remember(const PodRef& pod, std::shared_ptr<const device::PodRequest> request);

  /// A pod has been promised a node (status.nominatedNodeName), by kube-scheduler or by a replica of ours that evicted others for it: see ClaimNominated, which
  /// may be tried again when this replica is the active one (TakeNominations).
  void Nominated(const Nomination& nomination);
  /// Claims the pod's share there for a minute, besides pods that are terminating. False, and nothing happens, where its request is not known, it has a claim
  /// or nominal share already, or there will be no room.
  bool ClaimNominated(const Nomination& nomination);
  /// What was nominated since the last call; none while pods are being read.
  std::vector<Nomination> TakeNominations();

  /// The pod is bound or gone: nothing about it need be remembered.
  void Forget(std::string_view uid);

  /// Around a full read of the pods: whatever is remembered and was neither filtered nor seen waiting in between is gone, and forgotten. Another BeginRead
  /// takes the place of one that was not ended.
  void BeginRead();
  void SeeWaiting(std::string_view uid);
  void EndRead();

  /// Pods refused by their last filter.
  struct Waiting {
    PodRef pod;
    std::string text;  ///< of the nearest node
    Clock::Mono since;
  };
  std::vector<Waiting> waiting() const;

  /// A waiting pod that others could be evicted for: of higher priority than some pod that holds a share, and allowed to preempt.
  struct Preemptor {
    PodRef pod;
    std::shared_ptr<const device::PodRequest> request;
    /// The candidates of its last filter on which evictions could help. Only ids of `index` count: where nodes have come or gone since, it says nothing.
    std::shared_ptr<const std::vector<NodeId>> nodes;
    std::weak_ptr<const NodeIndex> index;
    Clock::Mono since;
  };
  /// Highest priority first, then longest waiting; at most `limit`.
  std::vector<Preemptor> Preemptors(std::size_t limit) const;
  /// Leaves the pod out of Preemptors until its next filter.
  void NoPreemptor(std::string_view uid);
  std::size_t waiting_count() const;

  /// A pod that went through Filter and is not known to be bound or gone.
  struct Remembered {
    PodRef pod;
    std::shared_ptr<const device::PodRequest> request;
    bool waiting = false;  ///< refused by its last filter
    std::string text;      ///< then: of the nearest node
    Clock::Mono since;     ///< then: waiting since
  };
  std::optional<Remembered> Find(std::string_view ns, std::string_view name) const;

  /// How a request stands with every node now.
  Diagnosis Diagnose(const device::PodRequest& request) const;

  /// What the last successful filter of a pod of this name decided; one of the last DecisionLog::kKept, else nullopt.
  std::optional<Decision> DecisionOf(std::string_view ns, std::string_view name) const;

  /// The policies that decide for a request, for trials with Ask.
  PolicyChain PoliciesFor(const device::PodRequest& request) const;

  /// Names of the policies that decide for a request: its own, or the defaults.
  const std::string& NodePolicyOf(const device::PodRequest& request) const;
  const std::vector<std::string>& DevicePoliciesOf(const device::PodRequest& request) const;

  /// Of these nodes, where shares have become free, one that would take a waiting pod: patching it makes kube-scheduler try again.
  /// nullopt when none would.
  std::optional<std::string> NodeWorthRetrying(const std::vector<std::string>& freed) const;

  /// Once quotas leave more room: a node that would take a pod which one of them held back. nullopt when none would.
  std::optional<std::string> NodeForQuotaWaiter() const;

  /// Verdict on one node for people: "fits", or the arithmetic.
  std::string Explain(const device::PodRequest& request, std::string_view node) const;

  /// Why no node could take the pod even if none ran anything and all devices were well, of the nearest node; nullopt when one could, or when that
  /// cannot be told quickly. Takes milliseconds over thousands of nodes when the answer is no.
  std::optional<std::string> WhyNever(const device::PodRequest& request) const;

  const EngineOptions& options() const;
  Cluster& cluster();

 private:
  class Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Names of the registered policies, for the request parser.
vendors::PolicyNames RegisteredPolicyNames();

}  // namespace partage::scheduler
