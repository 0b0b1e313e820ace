// SPDX-License-Identifier: Apache-2.0
// Where pods stand in each other's way: priorities, quotas, disruption budgets.
#include <algorithm>

#include <fmt/format.h>

#include "test/faults/bind_history.h"

namespace partage::test {
namespace {

constexpr const char* kUrgentQuota = "urgent";

nlohmann::json Quota(const std::string& name, const std::string& mib) {
  nlohmann::json quota = {{"metadata", {{"namespace", kCapped}, {"name", name}}},
                          {"spec", {{"hard", {{"limits.nvidia.com/gpumem", mib}}}}}};
  if (name == kUrgentQuota) {
    quota["spec"]["scopeSelector"]["matchExpressions"] = {{{"scopeName", "PriorityClass"}, {"operator", "In"}, {"values", {"urgent"}}}};
  }
  return quota;
}

bool IsCapped(const Asked& asked) { return asked.full_name.starts_with(std::string(kCapped) + "/"); }

}  // namespace

void BindHistory::ChangeQuota() {
  const std::string name = OneIn(3) ? kUrgentQuota : "all";
  const int way = Below(8);
  const std::string mib = way == 1 ? "16Gi" : std::to_string(500 * Below(60));
  Tell(fmt::format("quota {}: {}", name, way == 0 ? "is deleted" : mib));
  ++happened_["quota changed"];
  if (way == 0) {
    server_.Remove(Kind::kQuotas, fmt::format("{}/{}", kCapped, name));
  } else {
    server_.Put(Kind::kQuotas, Quota(name, mib).dump());
  }
}

void BindHistory::ChangeBudget() {
  const int disruptions = Below(4) - 1;
  Tell(fmt::format("budget: {}", disruptions));
  server_.SetBudget("guarded", disruptions < 0 ? std::nullopt : std::optional(disruptions));
}

// Kubelet: what is told to leave goes, some time.
void BindHistory::EndLeaving() {
  for (const auto& pod : Pods()) {
    if (!pod.deleting || OneIn(3)) continue;
    Tell(fmt::format("{} has left", pod.uid));
    server_.Remove(Kind::kPods, pod.FullName());
  }
}

// kube-scheduler's own preemption promises a node.
void BindHistory::Promise() {
  for (const auto& pod : Pods()) {
    if (!pod.node_name.empty() || pod.deleting || !OneIn(3)) continue;
    server_.Patch(Kind::kPods, pod.FullName(), {{"status", {{"nominatedNodeName", fmt::format("n{}", Below(2))}}}});
  }
}

void BindHistory::Preempt() {
  if (preempting_) return;
  preempting_ = true;
  if (!at_rest_) TryWaiting();
  claims_.clear();
  NoteClaims();
  life_->Preempt();
  preempting_ = false;
}

// kube-scheduler tries again whoever waits: what it is refused for is what the preemptor knows of.
void BindHistory::TryWaiting() {
  clock_.Advance(std::chrono::milliseconds(300));
  for (const auto& pod : Pods()) {
    if (pod.node_name.empty() && !pod.deleting && pod.priority > 0 && !life_->Binding(pod.uid)) (void)life_->Filter(pod);
  }
}

void BindHistory::NoteClaims() {
  for (const auto* node : {"n0", "n1"}) {
    life_->cluster().VisitPods(node, [&](const auto& entry) {
      if (entry.state == scheduler::Cluster::ShareState::kClaimed) claims_.emplace(node, entry.uid.ToString());
    });
  }
}

// Nobody is asked to leave but for a pod of higher priority that may preempt, and has a claim on the victim's node.
void BindHistory::CheckEviction(const k8s::Eviction& eviction) {
  const auto victim = asked_.at(eviction.uid);
  ++happened_[eviction.dry_run ? "eviction asked" : "eviction sent"];
  Tell(fmt::format("eviction of {}{}", eviction.uid, eviction.dry_run ? " (dry run)" : ""));
  const auto live = server_.Get(Kind::kPods, victim.full_name);
  if (eviction.dry_run || !live || (*live)["metadata"]["uid"] != eviction.uid) return;
  const auto node = (*live)["spec"].value("nodeName", "");
  const bool justified = std::any_of(asked_.begin(), asked_.end(), [&](const auto& entry) {
    const auto& [uid, asked] = entry;
    return asked.priority > victim.priority && !asked.never_preempts && claims_.contains({node, scheduler::PodUid(uid).ToString()}) &&
           life_->cluster().ClaimedNode({{}, {}, uid}) == node;
  });
  if (!justified) fault_ = fmt::format("{} on {} is evicted for nobody", eviction.uid, node);
}

// Bound at the API server, or its bind is in flight, or it has been promised a share.
bool BindHistory::Holds(const std::string& uid, const Asked& asked) {
  if (life_->cluster().InFlight({{}, {}, uid}) || life_->cluster().NominalNode({{}, {}, uid})) return true;
  const auto live = server_.Get(Kind::kPods, asked.full_name);
  if (!live || (*live)["metadata"]["uid"] != uid || !(*live)["spec"].contains("nodeName")) return false;
  return (*live)["status"].value("phase", "") != "Succeeded";
}

// A share has just been taken. With all that is bound, in flight and promised it keeps within the quotas that the process knows.
void BindHistory::CheckQuotas() {
  const auto& taker = asked_.at(attempts_.back());
  if (!IsCapped(taker)) return;
  std::int64_t all = 0, urgent = 0;
  for (const auto& [uid, asked] : asked_) {
    if (!IsCapped(asked) || !Holds(uid, asked)) continue;
    all += asked.mib;
    if (asked.priority == kUrgent) urgent += asked.mib;
  }
  life_->cluster().VisitQuotas([&](const auto& entry) {
    if (entry.name == kUrgentQuota && taker.priority != kUrgent) return;
    const auto held = entry.name == kUrgentQuota ? urgent : all;
    if (held > entry.most) fault_ = fmt::format("the quota {} of {} MiB is passed: {} MiB", entry.name, entry.most, held);
  });
}

}  // namespace partage::test
