// SPDX-License-Identifier: Apache-2.0
#include "test/faults/bind_history.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

#include "base/fault_point.h"
#include "device/allocation_codec.h"
#include "k8s/api/decode.h"
#include "scheduler/state/feed.h"

namespace partage::test {
namespace {

constexpr int kNodes = 2, kGpus = 2, kGpuMib = 10000;
constexpr int kMostPods = 12;
constexpr std::int32_t kPriorities[] = {0, 0, 0, 10, 10, kUrgent};
constexpr const char* kGuarded = "guarded";
constexpr int kSteps = 80;
constexpr int kDeepest = 3;  // turns of other threads inside one another

/// The process dies here.
struct Killed {};

/// The history whose fault points the process is passing.
BindHistory* current = nullptr;

using Held = std::map<std::string, std::int64_t>;  // device, or pod and device → MiB

std::string NodeText(int node) {
  std::string devices;
  for (int gpu = 0; gpu < kGpus; ++gpu) {
    devices += fmt::format(R"({}{{\"uuid\":\"n{}-g{}\",\"model\":\"L4\",\"memoryMiB\":{}}})", gpu == 0 ? "" : ",", node, gpu, kGpuMib);
  }
  return fmt::format(R"({{"metadata":{{"name":"n{}","annotations":{{"partage.dev/inventory":"{{\"version\":1,\"devices\":[{}]}}"}}}}}})",
                     node, devices);
}

std::string PodText(const Asked& asked, const std::string& uid, int gpus, bool guarded) {
  const auto slash = asked.full_name.find('/');
  return fmt::format(
      R"({{"metadata":{{"name":"{}","namespace":"{}","uid":"{}","labels":{{"app":"{}"}}}},"spec":{{"priority":{},"priorityClassName":"{}","preemptionPolicy":"{}","containers":[{{"name":"c","resources":{{"limits":{{"nvidia.com/gpu":"{}","nvidia.com/gpumem":"{}"}}}}}}]}}}})",
      asked.full_name.substr(slash + 1), asked.full_name.substr(0, slash), uid, guarded ? kGuarded : "other", asked.priority,
      asked.priority == kUrgent ? "urgent" : "usual", asked.never_preempts ? "Never" : "PreemptLowerPriority", gpus, asked.mib / gpus);
}

void AddUsage(std::string_view pod, const std::vector<device::UuidUsage>& usage, Held& by_device, Held& by_pod) {
  for (const auto& [uuid, use] : usage) {
    by_device[uuid] += use.mib;
    by_pod[fmt::format("{} on {}", pod, uuid)] += use.mib;
  }
}

std::string Difference(const Held& truth, const Held& ledger) {
  for (const auto& [what, mib] : truth) {
    const auto found = ledger.find(what);
    if (found == ledger.end()) return fmt::format("lost: pods say {} MiB for {}, the ledger nothing", mib, what);
    if (found->second != mib) return fmt::format("pods say {} MiB for {}, the ledger {}", mib, what, found->second);
  }
  for (const auto& [what, mib] : ledger) {
    if (!truth.contains(what)) return fmt::format("leaked: the ledger holds {} MiB for {}, pods nothing", mib, what);
  }
  return {};
}

}  // namespace

BindHistory::BindHistory(unsigned seed, bool tell, Happened& happened)
    : dice_(seed),
      tell_(tell),
      happened_(happened),
      vendors_([]() -> const vendors::Catalog& {
        static const vendors::Catalog catalog = vendors::Catalog::Embedded();
        return catalog;
      }()),
      server_({.listens = false}),
      api_(server_) {
  for (int node = 0; node < kNodes; ++node) server_.Put(Kind::kNodes, NodeText(node));
  life_ = std::make_unique<SchedulerLife>(server_, api_, clock_, vendors_);
  current = this;
  api_.OnEviction([this](const k8s::Eviction& eviction) { CheckEviction(eviction); });
  SetFaultHook([](std::string_view name) { current->AtFaultPoint(name); });
}

BindHistory::~BindHistory() {
  SetFaultHook(nullptr);
  current = nullptr;
}

std::string BindHistory::Run() {
  for (int step = 0; step < kSteps && fault_.empty(); ++step) {
    try {
      Step();
    } catch (const Killed&) {
      Die();
    }
  }
  if (fault_.empty()) ComeToRest();
  if (fault_.empty()) fault_ = Judge();
  if (fault_.empty()) EndAll();
  return fault_.empty() ? JudgeEmpty() : fault_;
}

void BindHistory::Step() {
  switch (Below(18)) {
    case 0:
    case 1: return Submit();
    case 2: return End();
    case 3:
    case 4:
    case 5: return Schedule();
    case 6:
    case 7:
    case 8: return AdvanceSome();
    case 9:
    case 10: return SeeEvents();
    case 11: return PassTime();
    case 12: return ChangeWeather();
    case 13: return OneIn(3) ? ChangeBudget() : ChangeQuota();
    case 14: return EndLeaving();
    case 15: return OneIn(4) ? Promise() : Preempt();
    default: return Preempt();
  }
}

// Some names are used again, for a pod with another UID.
void BindHistory::Submit() {
  if (server_.Size(Kind::kPods) >= kMostPods) return;
  const auto name = fmt::format("{}/p{}", OneIn(2) ? kCapped : "e", OneIn(3) ? Below(kMostPods) : pods_made_);
  if (server_.Get(Kind::kPods, name)) return;
  const auto uid = fmt::format("00000000-0000-4000-8000-{:012}", pods_made_++);  // only UUIDs come back from the ledger as they were
  const int mib = 1000 * (2 + Below(8)), gpus = OneIn(4) ? 2 : 1;
  const Asked asked{name, std::int64_t{mib} * gpus, kPriorities[Below(std::size(kPriorities))], OneIn(6)};
  Tell(fmt::format("{} ({}, priority {}{}) asks for {} x {} MiB", name, uid, asked.priority, asked.never_preempts ? ", never" : "", gpus,
                   mib));
  server_.Put(Kind::kPods, PodText(asked, uid, gpus, OneIn(4)));
  asked_[uid] = asked;
}

void BindHistory::End() {
  const auto pods = Pods();
  if (pods.empty()) return;
  const auto& pod = pods[static_cast<std::size_t>(Below(static_cast<int>(pods.size())))];
  const int way = Below(3);
  Tell(fmt::format("{} {}", pod.uid, way == 0 ? "finishes" : way == 1 ? "is being deleted" : "is deleted"));
  if (way == 0) server_.Patch(Kind::kPods, pod.FullName(), {{"status", {{"phase", "Succeeded"}}}});
  if (way == 1) server_.Patch(Kind::kPods, pod.FullName(), {{"metadata", {{"deletionTimestamp", "2026-01-01T00:00:00Z"}}}});
  if (way == 2) server_.Remove(Kind::kPods, pod.FullName());
}

// kube-scheduler's cycle. Some binds come without a filter before them, or for a pod that is bound: it outlives us, and its view lags.
void BindHistory::Schedule() {
  auto pods = Pods();
  const bool stale = OneIn(10);
  std::erase_if(pods, [&](const k8s::Pod& pod) { return life_->Binding(pod.uid) || (!stale && (!pod.node_name.empty() || pod.deleting)); });
  if (pods.empty()) return;
  const auto& pod = pods[static_cast<std::size_t>(Below(static_cast<int>(pods.size())))];
  const auto node = OneIn(8) ? fmt::format("n{}", Below(kNodes)) : life_->Filter(pod);
  Tell(fmt::format("{} goes to {}", pod.uid, node.empty() ? "nowhere" : node));
  if (!node.empty()) life_->StartBind(scheduler::RefOf(pod), node);
}

void BindHistory::AdvanceSome() {
  std::vector<SchedulerLife::Bind*> idle;
  for (const auto& bind : life_->binds()) {
    if (!bind->running) idle.push_back(bind.get());
  }
  if (idle.empty()) return;
  auto& bind = *idle[static_cast<std::size_t>(Below(static_cast<int>(idle.size())))];
  const auto pod = bind.attempt.pod();
  const auto node = bind.attempt.node();
  attempts_.push_back(pod.uid);
  const auto outcome = life_->Advance(bind);
  attempts_.pop_back();
  if (outcome) CheckOutcome(pod, node, *outcome);
}

// A pod that was reported bound is bound where it was said, unless it is gone meanwhile.
void BindHistory::CheckOutcome(const scheduler::PodRef& pod, const std::string& node, const Result<>& outcome) {
  Tell(fmt::format("{} on {}: {}", pod.uid, node, outcome ? "bound" : outcome.error().message));
  ++happened_[outcome ? "bound" : fmt::format("failed: {}", ToString(outcome.error().code))];
  const auto live = server_.Get(Kind::kPods, pod.FullName());
  if (!outcome || !live || (*live)["metadata"]["uid"] != pod.uid) return;
  // Only pods that run are asked whether a budget protects them.
  if ((*live)["status"].value("phase", "") == "") server_.Patch(Kind::kPods, pod.FullName(), {{"status", {{"phase", "Running"}}}});
  if ((*live)["spec"].value("nodeName", "") != node) fault_ = fmt::format("{} was reported bound to {} and is not", pod.uid, node);
}

// By the one thread that lists and watches.
void BindHistory::SeeEvents() {
  if (reading_) return;
  for (int left = 1 + Below(4); left > 0; --left) {
    const bool again = OneIn(4);
    ++happened_[again ? "event repeated" : "event seen"];
    life_->SeeEvent(dice_, again);
  }
  if (!OneIn(4)) return;
  ++happened_["relist"];
  Tell("all is read");
  reading_ = true;
  life_->Relist([this] {
    if (depth_ < kDeepest && OneIn(3)) TakeTurns("while all is read");
  });
  reading_ = false;
}

void BindHistory::PassTime() {
  clock_.Advance(std::chrono::milliseconds(Below(6000)));
  life_->Expire();
  life_->Confirm();
  if (api_.held_up() > 0 && OneIn(2)) ++happened_["late write"], api_.Release(true);
}

void BindHistory::ChangeWeather() {
  const auto weather = static_cast<Weather>(OneIn(2) ? 0 : Below(7));
  Tell(fmt::format("weather {}", static_cast<int>(weather)));
  ++happened_[fmt::format("weather {}", static_cast<int>(weather))];
  api_.Set(weather);
}

void BindHistory::AtFaultPoint(std::string_view name) {
  ++happened_[fmt::format("passed {}", name)];
  if (name == "bind.reserve.after") CheckQuotas();
  if (name == "preempt.claim.after") NoteClaims();
  if (at_rest_) return;
  if (OneIn(25)) {
    Tell(fmt::format("dies at {}", name));
    ++happened_[fmt::format("died at {}", name)];
    throw Killed();
  }
  if (depth_ < kDeepest && OneIn(3)) TakeTurns(fmt::format("at {}", name));
}

void BindHistory::TakeTurns(const std::string& when) {
  ++depth_;
  ++happened_["turn taken"];
  Tell(when + ":");
  for (int steps = 1 + Below(3); steps > 0; --steps) Step();
  --depth_;
}

// What the dead process had sent has arrived, or never will, before its successor reads the cluster: the connections died with it, and starting takes time.
void BindHistory::Die() {
  depth_ = 0;
  attempts_.clear();
  preempting_ = reading_ = false;
  while (api_.held_up() > 0) api_.Release(OneIn(2));
  life_.reset();
  life_ = std::make_unique<SchedulerLife>(server_, api_, clock_, vendors_);
}

void BindHistory::ComeToRest() {
  Tell("to rest");
  at_rest_ = true;
  api_.Set(Weather::kFine);
  server_.SetBudget(kGuarded, std::nullopt);
  while (api_.held_up() > 0) api_.Release(OneIn(2));
  // Long enough for a preemptor to be tried again after its longest pause, and for what then comes of it to end.
  for (int round = 0; round < 30; ++round) {
    clock_.Advance(std::chrono::seconds(10));
    while (life_->Behind()) life_->SeeEvent(dice_, false);
    life_->Expire();
    if (!life_->binds().empty()) AdvanceSome();
    Preempt();
    life_->Confirm();
    EndLeaving();
  }
  while (life_->Behind()) life_->SeeEvent(dice_, false);
}

// All pods go. Room, quotas and memory must then be as if none had ever been there.
void BindHistory::EndAll() {
  for (const auto& pod : Pods()) server_.Remove(Kind::kPods, pod.FullName());
  while (life_->Behind()) life_->SeeEvent(dice_, false);
}

std::string BindHistory::JudgeEmpty() {
  const auto counts = life_->cluster().counts();
  if (counts.pods_bound + counts.reserved + counts.nominal + counts.claimed > 0) {
    return fmt::format("no pod is left, but {} are bound, {} reserved, {} nominal, {} claimed", counts.pods_bound, counts.reserved,
                       counts.nominal, counts.claimed);
  }
  std::string fault;
  life_->cluster().VisitQuotas([&](const auto& entry) {
    if (entry.used != 0) fault = fmt::format("no pod is left, but the quota {} counts {} MiB", entry.name, entry.used);
  });
  const Asked whole{"e/whole", std::int64_t{kGpuMib} * kGpus, 0, false};
  const auto pod = k8s::DecodePodText(PodText(whole, "00000000-0000-4000-8000-00000000aaaa", kGpus, false)).value();
  for (int node = 0; node < kNodes && fault.empty(); ++node) {
    if (!life_->Fits(pod, fmt::format("n{}", node))) fault = fmt::format("no pod is left, but not all of n{} can be had", node);
  }
  return fault;
}

std::string BindHistory::Judge() {
  if (!life_->binds().empty()) return fmt::format("{} binds never end", life_->binds().size());
  Held truth_devices, truth, ledger_devices, ledger;
  for (const auto& pod : Pods()) {
    const auto seen = scheduler::Observe(pod, vendors_);
    if (!seen.allocation_error.empty()) return pod.uid + ": " + seen.allocation_error;
    AddUsage(scheduler::PodUid(pod.uid).ToString(), seen.usage, truth_devices, truth);
  }
  for (const auto& [uuid, mib] : truth_devices) {
    if (mib > kGpuMib) return fmt::format("doubled: {} MiB are given away of {}", mib, uuid);
  }
  for (int node = 0; node < kNodes; ++node) {
    life_->cluster().VisitPods(fmt::format("n{}", node),
                               [&](const auto& entry) { AddUsage(entry.uid.ToString(), entry.usage, ledger_devices, ledger); });
  }
  if (auto sound = life_->cluster().CheckInvariants(); !sound) return sound.error().message;
  const auto counts = life_->cluster().counts();
  if (counts.reserved + counts.nominal + counts.claimed + counts.overcommitted_devices + counts.quarantined_nodes > 0) {
    return fmt::format("{} shares are reserved, {} nominal, {} claimed, and nobody is at it; {} devices over-committed, {} nodes closed",
                       counts.reserved, counts.nominal, counts.claimed, counts.overcommitted_devices, counts.quarantined_nodes);
  }
  return Difference(truth, ledger);
}

std::vector<k8s::Pod> BindHistory::Pods() {
  const auto version = server_.store().version();
  if (version == pods_version_) return pods_;
  pods_.clear();
  const auto page = server_.store().List(Kind::kPods, {}, 0, {}, 0);
  for (const auto& object : page->objects) {
    std::string text;
    object->AppendTo(text);
    pods_.push_back(k8s::DecodePodText(text).value());
  }
  pods_version_ = version;
  return pods_;
}

void BindHistory::Tell(const std::string& what) {
  if (tell_) std::printf("%*s%s\n", 2 * depth_, "", what.c_str());
}

}  // namespace partage::test
