// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "k8s/api/decode.h"
#include "test/faults/bind_history.h"

namespace partage::test {
namespace {

// As the scheduler asks: of a pod that finishes it hears as of one that is deleted, and of one that had finished before nothing.
Selector Watched(Kind kind) { return {.ns = {}, .name = {}, .node = {}, .unfinished = kind == Kind::kPods}; }

constexpr std::chrono::seconds kDeadline{8};
constexpr std::size_t kRemembered = 30;

std::string TextOf(const StoredObject& object) {
  std::string text;
  object.AppendTo(text);
  return text;
}

template <class Sink, class Object>
void Tell(Sink& sink, const std::string& type, Object object) {
  type == "DELETED" ? sink.Remove(std::move(object)) : sink.Upsert(std::move(object));
  sink.Flush();
}

}  // namespace

SchedulerLife::SchedulerLife(FakeApiServer& server, InProcessApi& api, const ManualClock& clock, const vendors::Catalog& vendors)
    : server_(server),
      clock_(clock),
      cluster_(clock),
      engine_(scheduler::Engine::Make(cluster_, clock, {}, probe_).value()),
      requests_(vendors),
      context_{*engine_, api, vendors, requests_, fence_, clock, [](const Result<>&) {}},
      node_sink_(cluster_, vendors, [] {}),
      pod_sink_(*engine_, vendors, [] {}),
      quota_sink_(cluster_, vendors),
      preemptor_(*engine_, api, events_, clock, {}, registry_),
      confirmer_(cluster_, api) {
  Relist([] {});
}

std::string SchedulerLife::Filter(const k8s::Pod& pod) {
  const std::vector<std::string_view> candidates = {"n0", "n1"};
  const auto outcome = engine_->Filter(InputOf(pod), candidates);
  return outcome.fitting_names.empty() ? std::string() : std::string(outcome.fitting_names.front());
}

scheduler::PodInput SchedulerLife::InputOf(const k8s::Pod& pod) const {
  return {scheduler::RefOf(pod), requests_.Of(pod), false, pod.never_preempts};
}

bool SchedulerLife::Fits(const k8s::Pod& pod, std::string_view node) {
  const std::vector<std::string_view> candidates = {node};
  return !engine_->Filter(InputOf(pod), candidates).fitting.empty();
}

void SchedulerLife::Confirm() { confirmer_.Tick(); }

void SchedulerLife::Preempt() { preemptor_.Tick(); }

void SchedulerLife::StartBind(const scheduler::PodRef& pod, const std::string& node) {
  binds_.push_back(std::make_unique<Bind>(context_, pod, node, clock_.Now() + kDeadline));
}

bool SchedulerLife::Binding(const std::string& uid) const {
  return std::any_of(binds_.begin(), binds_.end(), [&](const auto& bind) { return bind->attempt.pod().uid == uid; });
}

std::optional<Result<>> SchedulerLife::Advance(Bind& bind) {
  bind.running = true;
  auto outcome = bind.attempt.Advance();
  bind.running = false;
  if (outcome) std::erase_if(binds_, [&](const auto& each) { return each.get() == &bind; });
  return outcome;
}

void SchedulerLife::Expire() {
  cluster_.ExpireNominals();
  std::erase_if(binds_, [&](const auto& bind) {
    if (bind->running || bind->attempt.exposed() || clock_.Now() < bind->deadline) return false;
    (void)bind->attempt.GiveUp("no time left");
    return true;
  });
}

template <class Sink, class Decode>
void SchedulerLife::ListInto(Kind kind, Sink& sink, Decode decode, const Meanwhile& meanwhile) {
  sink.ReplaceBegin();
  meanwhile();
  const auto page = server_.store().List(kind, Watched(kind), 0, {}, 0);
  meanwhile();
  for (const auto& object : page->objects) sink.Upsert(decode(TextOf(*object)).value());
  meanwhile();
  sink.ReplaceEnd();
  version_[static_cast<std::size_t>(kind)] = page->version;
}

void SchedulerLife::Relist(const Meanwhile& meanwhile) {
  ListInto(Kind::kNodes, node_sink_, k8s::DecodeNodeText, meanwhile);
  ListInto(Kind::kQuotas, quota_sink_, k8s::DecodeResourceQuotaText, meanwhile);
  ListInto(Kind::kPods, pod_sink_, k8s::DecodePodText, meanwhile);
}

bool SchedulerLife::BehindOn(Kind kind) const {
  return !server_.store().Since(kind, Watched(kind), version_[static_cast<std::size_t>(kind)], {})->changes.empty();
}

bool SchedulerLife::Behind() const { return BehindOn(Kind::kPods) || BehindOn(Kind::kQuotas); }

// Pods' events alone come again: a quota of whom an old event followed the last one would live on.
void SchedulerLife::SeeEvent(std::mt19937& dice, bool again) {
  if (again && !seen_.empty()) return Take(seen_[dice() % seen_.size()]);
  const Kind kind = BehindOn(Kind::kQuotas) && dice() % 2 == 0 ? Kind::kQuotas : Kind::kPods;
  auto& version = version_[static_cast<std::size_t>(kind)];
  const auto changes = server_.store().Since(kind, Watched(kind), version, {});
  if (changes->changes.empty()) return;
  const auto& change = changes->changes.front();
  version = change.object->version;
  const Seen event{kind, std::string(change.type), TextOf(*change.object)};
  Take(event);
  if (kind == Kind::kQuotas) return;
  if (seen_.size() == kRemembered) seen_.erase(seen_.begin());
  seen_.push_back(event);
}

void SchedulerLife::Take(const Seen& event) {
  if (event.kind == Kind::kQuotas) return Tell(quota_sink_, event.type, k8s::DecodeResourceQuotaText(event.text).value());
  Tell(pod_sink_, event.type, k8s::DecodePodText(event.text).value());
}

}  // namespace partage::test
