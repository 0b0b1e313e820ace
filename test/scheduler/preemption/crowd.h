// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "scheduler/engine/engine.h"
#include "test/support/builders.h"
#include "test/support/manual_clock.h"

namespace partage::test {

/// A cluster whose pods have priorities and ages. What they hold was given by the engine itself.
class Crowd {
 public:
  Crowd& With(const scheduler::NodeObservation& node) {
    names_.push_back(node.name);
    cluster_.ObserveNode(node);
    cluster_.Publish();
    return *this;
  }
  /// A bound pod; false where there is no room for it.
  bool Bind(const std::string& name, const Ask& ask, std::string_view node, std::int32_t priority, std::uint32_t created = 0) {
    const std::vector<std::string_view> candidates = {node};
    if (engine_->Filter(Input(name, ask), candidates).fitting.empty()) return false;
    const auto reservation = engine_->Reserve(Ref(name), node);
    auto seen = Bound(name, reservation->allocation());
    seen.pod.priority = priority;
    seen.created = created;
    cluster_.ObservePod(seen);
    cluster_.Publish();
    names_of_[scheduler::PodUid(seen.pod.uid).ToString()] = name;
    return true;
  }
  scheduler::FilterOutcome Filter(const std::string& name, const Ask& ask, std::int32_t priority, bool never_preempts = false) {
    auto input = Input(name, ask);
    input.pod.priority = priority;
    input.never_preempts = never_preempts;
    const std::vector<std::string_view> candidates(names_.begin(), names_.end());
    return engine_->Filter(input, candidates);
  }
  void Gone(const std::string& name) {
    cluster_.ForgetPod(Ref(name));
    cluster_.Publish();
  }
  std::string NameOf(const scheduler::PodUid& uid) const { return names_of_.at(uid.ToString()); }

  ManualClock& clock() { return clock_; }
  scheduler::Cluster& cluster() { return cluster_; }
  scheduler::Engine& engine() { return *engine_; }
  std::vector<std::string_view> nodes() const { return {names_.begin(), names_.end()}; }

 private:
  ManualClock clock_;
  scheduler::Cluster cluster_{clock_};
  scheduler::Probe probe_;
  std::unique_ptr<scheduler::Engine> engine_ = std::move(*scheduler::Engine::Make(cluster_, clock_, {}, probe_));
  std::vector<std::string> names_;
  std::map<std::string, std::string> names_of_;
};

}  // namespace partage::test
