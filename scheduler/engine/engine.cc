// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/engine.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "scheduler/engine/idle_cluster.h"
#include "scheduler/engine/never_memory.h"
#include "scheduler/engine/placement.h"
#include "scheduler/engine/pod_memory.h"
#include "scheduler/engine/policy_set.h"
#include "scheduler/engine/reasons.h"

namespace partage::scheduler {
namespace {

using Request = PodMemory::Request;

// A node that another pod takes between our look and our nomination costs another look; so often in a row never happens with one kube-scheduler.
constexpr int kNominationTries = 8;
constexpr auto kNearestKept = std::chrono::seconds(60);
constexpr auto kNominationKept = std::chrono::seconds(60);
constexpr std::size_t kRequestsRetried = 64;
constexpr std::size_t kRowsAhead = 16;

struct Ranked {
  std::uint32_t candidate = 0;  // place among the candidates
  NodeId id = kNoNode;
  Score score = 0;
};

Cluster::Placer PlacerOf(const Ask& ask) {
  return [&ask](const Block& block, std::uint32_t row) -> Result<device::Allocation> {
    if (auto allocation = PlaceOnNode(block, row, ask)) return std::move(*allocation);
    const auto& info = (*block.infos)[row];
    return Fail(Code::kConflict, "no longer fits: {}", NearestText(ExplainNode(block, row, ask), info ? info->name : ""));
  };
}

PodMemory::Nearest NearestAs(std::string_view node, const Ask& ask, const Snapshot& snapshot, NodeId id, Clock::Mono now) {
  const Shortfall shortfall = id == kNoNode ? Shortfall{} : ExplainNode(snapshot.block(id), id % kBlockNodes, ask);
  return {std::string(node), GroupText(shortfall), NearestText(shortfall, node), now};
}

double Seconds(Clock::Mono from, Clock::Mono to) { return std::chrono::duration<double>(to - from).count(); }

// The candidates' ids in one snapshot: those the caller found, unless nodes have come or gone since.
class IdsIn {
 public:
  IdsIn(const Snapshot& snapshot, const Candidates& candidates) : ids_(candidates.ids) {
    if (candidates.index == snapshot.index.get()) return;
    found_ = snapshot.index->FindAll(candidates.names);
    ids_ = found_;
  }
  operator std::span<const NodeId>() const { return ids_; }  // NOLINT: it is one

 private:
  std::vector<NodeId> found_;
  std::span<const NodeId> ids_;
};

// The fitting nodes seen so far, best k kept.
class Best {
 public:
  Best(const NodeIndex& index, std::size_t k) : index_(index), k_(k) {}

  /// Whether a node of this score and name would be kept: asked before the costly part of the fit.
  bool Wants(Score score, NodeId id) const { return ranked_.size() < k_ || Better({0, id, score}, ranked_.front()); }
  void Add(const Ranked& node) {
    const auto worse_last = [this](const Ranked& a, const Ranked& b) { return Better(a, b); };
    if (ranked_.size() == k_) {
      std::pop_heap(ranked_.begin(), ranked_.end(), worse_last);
      ranked_.pop_back();
    }
    ranked_.push_back(node);
    std::push_heap(ranked_.begin(), ranked_.end(), worse_last);
  }
  std::vector<Ranked> Sorted() && {
    std::sort(ranked_.begin(), ranked_.end(), [this](const Ranked& a, const Ranked& b) { return Better(a, b); });
    return std::move(ranked_);
  }

 private:
  bool Better(const Ranked& a, const Ranked& b) const {
    return a.score != b.score ? a.score > b.score : index_.Rank(a.id) < index_.Rank(b.id);
  }

  const NodeIndex& index_;
  std::size_t k_;
  std::vector<Ranked> ranked_;  // heap, worst in front
};

}  // namespace

Result<Shortlist> Shortlist::Parse(std::string_view text) {
  if (text == "auto") return Shortlist{};
  std::size_t k = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), k);
  if (error != std::errc() || end != text.data() + text.size() || k == 0) {
    return Fail(Code::kInvalid, "shortlist \"{}\" is neither \"auto\" nor a number of at least 1", text);
  }
  return Shortlist{.automatic = false, .k = k};
}

class Engine::Impl {
 public:
  Impl(Cluster& cluster, const Clock& clock, EngineOptions options, Probe& probe, PolicySet policies)
      : cluster_(cluster), clock_(clock), options_(std::move(options)), probe_(probe), policies_(std::move(policies)) {}

  FilterOutcome Filter(const PodInput& pod, const Candidates& candidates);
  std::vector<int> Prioritize(const PodInput& pod, const Candidates& candidates);
  Result<Reservation> Reserve(const PodRef& pod, std::string_view node, Request request);
  bool ClaimNominated(const Nomination& nomination);
  std::optional<std::string> NodeWorthRetrying(const std::vector<std::string>& freed) const;
  std::optional<std::string> NodeForQuotaWaiter() const;
  std::string Explain(const device::PodRequest& request, std::string_view node) const;
  Diagnosis Diagnose(const device::PodRequest& request) const;
  std::optional<std::string> WhyNever(const device::PodRequest& request) const;

  const DecisionLog& decisions() const { return decisions_; }
  const PolicySet& policies() const { return policies_; }
  PodMemory& memory() { return memory_; }
  Nominations& nominations() { return nominations_; }
  const EngineOptions& options() const { return options_; }
  Cluster& cluster() { return cluster_; }

 private:
  using Names = std::span<const std::string_view>;
  using Ids = std::span<const NodeId>;

  FilterOutcome RefuseAll(Names names, std::string text, bool unresolvable) const;
  FilterOutcome RefuseByQuota(const PodInput& pod, Names names, std::string text);
  FilterOutcome Accept(const PodInput& pod, const Candidates& candidates, const std::vector<Ranked>& ranked);
  std::optional<FilterOutcome> TakeClaim(const PodInput& pod, const Candidates& candidates, std::string_view node);
  PodMemory::Targets TargetsOf(const PodInput& pod, const Snapshot& snapshot, const FilterOutcome& outcome, Ids ids) const;
  FilterOutcome Refuse(const PodInput& pod, const Ask& ask, const Snapshot& snapshot, Names names, Ids ids);
  std::vector<Ranked> Scan(const Ask& ask, const Snapshot& snapshot, Ids ids, std::size_t k) const;
  std::size_t ListLength(const PodInput& pod) const;
  bool WouldTake(const Snapshot& snapshot, NodeId id, const Ask& ask, std::string_view ns) const;

  Cluster& cluster_;
  const Clock& clock_;
  const EngineOptions options_;
  Probe& probe_;
  const PolicySet policies_;
  PodMemory memory_;
  Nominations nominations_;
  DecisionLog decisions_;
  mutable NeverMemory never_;
};

std::size_t Engine::Impl::ListLength(const PodInput& pod) const {
  return options_.shortlist.automatic && !pod.has_soft_preferences ? 1 : options_.shortlist.k;
}

// The hot loop. Rows lie in no order that hardware could foresee from the candidates', so memory is asked for them ahead of time. Per node one glance, one rank
// and, while the node would make the list, one fit.
std::vector<Ranked> Engine::Impl::Scan(const Ask& ask, const Snapshot& snapshot, Ids ids, std::size_t k) const {
  const Policy& policy = *ask.policies().node;
  const auto& weights = ask.request().weights;
  Best best(*snapshot.index, k);
  for (std::uint32_t c = 0; c < ids.size(); ++c) {
    if (const std::size_t ahead = c + kRowsAhead; ahead < ids.size() && ids[ahead] != kNoNode)
      __builtin_prefetch(&snapshot.row(ids[ahead]));
    if (ids[c] == kNoNode) continue;
    const Block& block = snapshot.block(ids[c]);
    const NodeRow& row = block.rows[ids[c] % kBlockNodes];
    if (!ask.RowMayFit(row)) continue;
    const Score score = policy.RankNode({row.used, row.total}, ask.DemandOn(row), weights);
    if (!best.Wants(score, ids[c]) || !ask.MayFit(block, row)) continue;
    if (!ask.simple() && !PlaceOnNode(block, ids[c] % kBlockNodes, ask)) continue;
    best.Add({c, ids[c], score});
  }
  return std::move(best).Sorted();
}

FilterOutcome Engine::Impl::RefuseAll(Names names, std::string text, bool unresolvable) const {
  FilterOutcome outcome;
  outcome.texts.push_back(std::move(text));
  for (const auto& name : names) outcome.refusals.push_back({name, 0, unresolvable});
  return outcome;
}

// No node would do, and no eviction on one: what helps is a pod of the same namespace that ends.
FilterOutcome Engine::Impl::RefuseByQuota(const PodInput& pod, Names names, std::string text) {
  text = fmt::format("{}: {}", kHamiQuotaName, text);
  probe_.OnRefusal(kHamiQuotaName, names.size());
  memory_.RememberRefused(pod.pod, *pod.request, {.node = {}, .group = text, .text = text, .since = clock_.Now()}, {}, clock_.Now());
  return RefuseAll(names, std::move(text), true);
}

FilterOutcome Engine::Impl::Filter(const PodInput& pod, const Candidates& candidates) {
  const auto began = clock_.Now();
  const auto done = [&](std::string_view outcome) { probe_.OnFilter(outcome, Seconds(began, clock_.Now())); };
  if (!pod.request) {
    done("invalid");
    return RefuseAll(candidates.names, fmt::format("pod {}: {}", pod.pod.FullName(), pod.request.error().message), true);
  }
  if (const auto flying = cluster_.InFlight(pod.pod)) {
    done("in_flight");
    return RefuseAll(candidates.names, fmt::format("an earlier bind of this pod to {} has not been answered yet", flying->node), false);
  }
  cluster_.DropNominal(pod.pod);
  const auto claimed_node = cluster_.ClaimedNode(pod.pod);
  if (auto claimed = claimed_node ? TakeClaim(pod, candidates, *claimed_node) : std::nullopt) {
    done("fit");
    return *std::move(claimed);
  }
  for (int attempt = 0; attempt < kNominationTries; ++attempt) {
    // A claim is charged to the quota already.
    if (auto over = claimed_node ? std::nullopt : cluster_.QuotaRefusal(pod.pod.ns, **pod.request)) {
      done("refused");
      return RefuseByQuota(pod, candidates.names, *std::move(over));
    }
    const auto snapshot = cluster_.snapshot();
    const Ask ask(**pod.request, policies_.For(**pod.request), *snapshot->kinds);
    const IdsIn ids(*snapshot, candidates);
    const auto ranked = Scan(ask, *snapshot, ids, ListLength(pod));
    if (ranked.empty()) {
      auto outcome = Refuse(pod, ask, *snapshot, candidates.names, ids);
      done("refused");
      return outcome;
    }
    const auto nominated = cluster_.Nominate(pod.pod, candidates.names[ranked.front().candidate], options_.nominal_ttl, PlacerOf(ask),
                                             (*pod.request)->quota_traits);
    if (!nominated && nominated.error().code == Code::kInvalid) {
      done("refused");
      return RefuseByQuota(pod, candidates.names, nominated.error().message);
    }
    if (!nominated) {
      probe_.OnNominationRace();
      continue;
    }
    auto outcome = Accept(pod, candidates, ranked);
    done("fit");
    return outcome;
  }
  done("refused");
  return RefuseAll(candidates.names, "the nodes that fit are being taken by other pods; try again", false);
}

FilterOutcome Engine::Impl::Accept(const PodInput& pod, const Candidates& candidates, const std::vector<Ranked>& ranked) {
  memory_.RememberFit(pod.pod, *pod.request);
  decisions_.Add({.pod = pod.pod,
                  .node = std::string(candidates.names[ranked.front().candidate]),
                  .score = ranked.front().score,
                  .candidates = candidates.names.size(),
                  .shortlist = ranked.size(),
                  .request = *pod.request});
  FilterOutcome outcome;
  for (const Ranked& node : ranked) {
    outcome.fitting.push_back(node.id);
    outcome.fitting_names.push_back(candidates.names[node.candidate]);
  }
  return outcome;
}

// Pods were evicted for this one. Their room is nobody else's, so on the snapshot it seems taken; only the ledger can tell whether it is free.
std::optional<FilterOutcome> Engine::Impl::TakeClaim(const PodInput& pod, const Candidates& candidates, std::string_view node) {
  const auto place = std::find(candidates.names.begin(), candidates.names.end(), node);
  if (place == candidates.names.end()) return std::nullopt;
  const auto snapshot = cluster_.snapshot();
  const Ask ask(**pod.request, policies_.For(**pod.request), *snapshot->kinds);
  if (!cluster_.Nominate(pod.pod, node, options_.nominal_ttl, PlacerOf(ask), (*pod.request)->quota_traits)) return std::nullopt;
  const Ranked only{static_cast<std::uint32_t>(place - candidates.names.begin()), snapshot->index->Find(node), 0};
  return Accept(pod, candidates, {only});
}

// Which nodes a waiting pod might get by preemption. Most clusters have no two priorities: then nothing is kept.
PodMemory::Targets Engine::Impl::TargetsOf(const PodInput& pod, const Snapshot& snapshot, const FilterOutcome& outcome, Ids ids) const {
  PodMemory::Targets targets;
  if (pod.never_preempts || pod.pod.priority <= cluster_.lowest_priority()) return targets;
  auto nodes = std::make_shared<std::vector<NodeId>>();
  for (std::size_t c = 0; c < ids.size(); ++c) {
    if (ids[c] != kNoNode && !outcome.refusals[c].unresolvable) nodes->push_back(ids[c]);
  }
  if (nodes->empty()) return targets;
  nodes->shrink_to_fit();
  return {std::move(nodes), snapshot.index};
}

// Texts by reason and need, so that equal ones are counted together; only the nearest node speaks for itself, and goes on speaking while its reason stays, so
// that the message does not change with every share given elsewhere.
FilterOutcome Engine::Impl::Refuse(const PodInput& pod, const Ask& ask, const Snapshot& snapshot, Names names, Ids ids) {
  FilterOutcome outcome;
  RefusalGroups groups;
  const auto now = clock_.Now();
  const auto kept = memory_.NearestOf(pod.pod);
  const auto speaks_on = [&](std::size_t c, std::uint32_t group) {
    return kept && kept->node == names[c] && kept->group == groups.groups()[group].text && now - kept->since < kNearestKept;
  };
  std::size_t speaker = names.size();
  std::pair<Nearness, std::int64_t> nearest;
  bool speaks_still = false;
  for (std::size_t c = 0; c < names.size(); ++c) {
    const bool known = ids[c] != kNoNode;
    const Shortfall shortfall = known ? MeasureNode(snapshot.block(ids[c]), ids[c] % kBlockNodes, ask) : Shortfall{};
    const std::uint32_t group = groups.Add(shortfall);
    outcome.refusals.push_back({names[c], group, shortfall.unresolvable()});
    if (speaks_still) continue;
    speaks_still = speaks_on(c, group);
    const std::pair near(NearnessOf(shortfall), -static_cast<std::int64_t>(known ? snapshot.index->Rank(ids[c]) : ids.size()));
    if (!speaks_still && speaker < names.size() && near <= nearest) continue;
    speaker = c;
    nearest = near;
  }
  for (const auto& group : groups.groups()) {
    outcome.texts.push_back(group.text);
    probe_.OnRefusal(HamiName(group.reason), group.nodes);
  }
  if (names.empty()) return outcome;
  PodMemory::Nearest told = speaks_still ? *kept : NearestAs(names[speaker], ask, snapshot, ids[speaker], now);
  outcome.refusals[speaker].text = static_cast<std::uint32_t>(outcome.texts.size());
  outcome.texts.push_back(told.text);
  memory_.RememberRefused(pod.pod, *pod.request, std::move(told), TargetsOf(pod, snapshot, outcome, ids), now);
  return outcome;
}

std::vector<int> Engine::Impl::Prioritize(const PodInput& pod, const Candidates& candidates) {
  std::vector<int> points(candidates.names.size(), 0);
  if (!pod.request || points.empty() || cluster_.InFlight(pod.pod)) return points;
  cluster_.DropNominal(pod.pod);
  const auto snapshot = cluster_.snapshot();
  const Ask ask(**pod.request, policies_.For(**pod.request), *snapshot->kinds);
  const auto ranked = Scan(ask, *snapshot, IdsIn(*snapshot, candidates), points.size());
  if (ranked.empty()) return points;
  const Score top = ranked.front().score, low = ranked.back().score;
  for (const Ranked& node : ranked) {
    points[node.candidate] = top > low ? static_cast<int>(std::floor(10 * (node.score - low) / (top - low))) : 10;
  }
  for (const Ranked& node : ranked) {
    if (cluster_.Nominate(pod.pod, candidates.names[node.candidate], options_.nominal_ttl, PlacerOf(ask), (*pod.request)->quota_traits)) {
      break;
    }
    probe_.OnNominationRace();
  }
  return points;
}

Result<Reservation> Engine::Impl::Reserve(const PodRef& pod, std::string_view node, Request request) {
  if (request == nullptr) request = memory_.RequestOf(pod);
  if (request == nullptr) return Fail(Code::kNotFound, "pod {}: no request", pod.FullName());
  const auto snapshot = cluster_.snapshot();
  const Ask ask(*request, policies_.For(*request), *snapshot->kinds);
  return cluster_.Reserve(pod, node, PlacerOf(ask), request->quota_traits);
}

// What the node would give, its quotas allow too.
bool Engine::Impl::WouldTake(const Snapshot& snapshot, NodeId id, const Ask& ask, std::string_view ns) const {
  const auto allocation = PlaceOnNode(snapshot.block(id), id % kBlockNodes, ask);
  return allocation && !cluster_.QuotaRefusal(ns, ask.request().quota_traits, *allocation);
}

bool Engine::Impl::ClaimNominated(const Nomination& nomination) {
  const PodRef& pod = nomination.pod;
  const Request request = nomination.request != nullptr ? nomination.request : memory_.RequestOf(pod);
  if (request == nullptr || cluster_.NominalNode(pod)) return false;
  const auto snapshot = cluster_.snapshot();
  const Ask ask(*request, policies_.For(*request), *snapshot->kinds);
  return cluster_.Claim(pod, nomination.node, kNominationKept, {}, PlacerOf(ask), request->quota_traits).has_value();
}

std::optional<std::string> Engine::Impl::NodeWorthRetrying(const std::vector<std::string>& freed) const {
  if (auto claimed = cluster_.NodeWithRipeClaim(freed)) return claimed;
  const auto snapshot = cluster_.snapshot();
  for (const auto& [ns, request] : memory_.WaitingRequests(kRequestsRetried)) {
    if (cluster_.QuotaRefusal(ns, *request)) continue;
    const Ask ask(*request, policies_.For(*request), *snapshot->kinds);
    for (const std::string& name : freed) {
      const NodeId id = snapshot->index->Find(name);
      if (id != kNoNode && WouldTake(*snapshot, id, ask, ns)) return name;
    }
  }
  return std::nullopt;
}

std::optional<std::string> Engine::Impl::NodeForQuotaWaiter() const {
  const auto snapshot = cluster_.snapshot();
  for (const auto& [ns, request] : memory_.WaitingRequests(kRequestsRetried, PodMemory::Blocked::kByQuota)) {
    if (cluster_.QuotaRefusal(ns, *request)) continue;
    const Ask ask(*request, policies_.For(*request), *snapshot->kinds);
    for (const NodeId id : snapshot->index->ordered()) {
      if (WouldTake(*snapshot, id, ask, ns)) return std::string(snapshot->index->Name(id));
    }
  }
  return std::nullopt;
}

std::string Engine::Impl::Explain(const device::PodRequest& request, std::string_view node) const {
  const auto snapshot = cluster_.snapshot();
  const NodeId id = snapshot->index->Find(node);
  if (id == kNoNode) return NearestText(Shortfall{}, node);
  const Ask ask(request, policies_.For(request), *snapshot->kinds);
  const Block& block = snapshot->block(id);
  if (PlaceOnNode(block, id % kBlockNodes, ask)) return "fits";
  return NearestText(ExplainNode(block, id % kBlockNodes, ask), node);
}

Diagnosis Engine::Impl::Diagnose(const device::PodRequest& request) const {
  return scheduler::Diagnose(*cluster_.snapshot(), request, [this](const device::PodRequest& asked) { return policies_.For(asked); });
}

std::optional<std::string> Engine::Impl::WhyNever(const device::PodRequest& request) const {
  const auto snapshot = cluster_.snapshot();
  return never_.Recall(*snapshot, request,
                       [&] { return WhyNotWhenIdle(*snapshot, Ask(request, policies_.For(request), *snapshot->kinds)); });
}

Result<std::unique_ptr<Engine>> Engine::Make(Cluster& cluster, const Clock& clock, EngineOptions options, Probe& probe) {
  auto policies = PolicySet::Make(options.node_policy, options.device_policies);
  if (!policies) return Fail(policies.error());
  return std::unique_ptr<Engine>(new Engine(std::make_unique<Impl>(cluster, clock, std::move(options), probe, std::move(*policies))));
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;
FilterOutcome Engine::Filter(const PodInput& pod, const Candidates& candidates) { return impl_->Filter(pod, candidates); }
std::vector<int> Engine::Prioritize(const PodInput& pod, const Candidates& candidates) { return impl_->Prioritize(pod, candidates); }
Result<Reservation> Engine::Reserve(const PodRef& pod, std::string_view node, std::shared_ptr<const device::PodRequest> request) {
  return impl_->Reserve(pod, node, std::move(request));
}
void Engine::Remember(const PodRef& pod, std::shared_ptr<const device::PodRequest> request) {
  impl_->memory().RememberFit(pod, std::move(request));
}
void Engine::Nominated(const Nomination& nomination) {
  impl_->nominations().Add(nomination);
  (void)impl_->ClaimNominated(nomination);
}
bool Engine::ClaimNominated(const Nomination& nomination) { return impl_->ClaimNominated(nomination); }
std::vector<Nomination> Engine::TakeNominations() { return impl_->nominations().Take(); }
void Engine::Forget(std::string_view uid) {
  impl_->memory().Forget(uid);
  impl_->nominations().Forget(uid);
}
void Engine::BeginRead() {
  impl_->memory().BeginRead();
  impl_->nominations().BeginRead();
}
void Engine::SeeWaiting(std::string_view uid) { impl_->memory().See(uid); }
void Engine::EndRead() {
  impl_->memory().EndRead();
  impl_->nominations().EndRead();
}
std::vector<Engine::Waiting> Engine::waiting() const { return impl_->memory().waiting(); }
void Engine::NoPreemptor(std::string_view uid) { impl_->memory().ForgetTargets(uid); }
std::vector<Engine::Preemptor> Engine::Preemptors(std::size_t limit) const { return impl_->memory().Preemptors(limit); }
PolicyChain Engine::PoliciesFor(const device::PodRequest& request) const { return impl_->policies().For(request); }
std::size_t Engine::waiting_count() const { return impl_->memory().waiting_count(); }
std::optional<std::string> Engine::NodeWorthRetrying(const std::vector<std::string>& freed) const {
  return impl_->NodeWorthRetrying(freed);
}
std::optional<std::string> Engine::NodeForQuotaWaiter() const { return impl_->NodeForQuotaWaiter(); }
std::string Engine::Explain(const device::PodRequest& request, std::string_view node) const { return impl_->Explain(request, node); }
std::optional<Engine::Remembered> Engine::Find(std::string_view ns, std::string_view name) const { return impl_->memory().Find(ns, name); }
Diagnosis Engine::Diagnose(const device::PodRequest& request) const { return impl_->Diagnose(request); }
std::optional<Decision> Engine::DecisionOf(std::string_view ns, std::string_view name) const { return impl_->decisions().Find(ns, name); }
const std::string& Engine::NodePolicyOf(const device::PodRequest& request) const { return impl_->policies().NodePolicyOf(request); }
const std::vector<std::string>& Engine::DevicePoliciesOf(const device::PodRequest& request) const {
  return impl_->policies().DevicePoliciesOf(request);
}
std::optional<std::string> Engine::WhyNever(const device::PodRequest& request) const { return impl_->WhyNever(request); }
const EngineOptions& Engine::options() const { return impl_->options(); }
Cluster& Engine::cluster() { return impl_->cluster(); }

}  // namespace partage::scheduler
