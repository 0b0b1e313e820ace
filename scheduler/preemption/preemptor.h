// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

#include "base/clock.h"
#include "metrics/registry.h"
#include "scheduler/engine/engine.h"
#include "scheduler/extender/cluster_api.h"
#include "scheduler/extender/event_sink.h"
#include "scheduler/extender/write_fence.h"

namespace partage::scheduler {

/// Evicts pods so that a waiting one of higher priority gets its share: kube-scheduler cannot do it for room only an extender knows. Manual:
/// docs/preemption.md.
///
///   waiting ──plan, claim──▶ asking ──every victim may go──▶ evicting ──all asked to go──▶ leaving ──room free, next filter──▶ nominal
///      ▲                       │ a budget protects one:         │ protected after all: choose anew,
///      │                       ▼ claim dropped, choose anew     ▼ who is leaving counts as gone
///      └── nobody may go: asked again later ◀───────────────────┘
///
/// The claim (Cluster::Claim) keeps what victims leave behind from everybody else. It lasts until the pod is bound or gone, or `hold` after the last victim
/// went. Nobody is asked to leave before a dry run has shown that all victims may, and that the waiting pod still waits.
/// Owns one thread. Thread-safe, but for Start and Stop. What is passed in must outlive it.
class Preemptor {
 public:
  struct Options {
    std::chrono::milliseconds tick{100};
    std::chrono::milliseconds min_interval{250};   ///< between two tries
    std::chrono::milliseconds hold{60'000};        ///< how long room that has come free waits for its pod
    std::chrono::milliseconds first_pause{2'000};  ///< before a pod for which nobody could be evicted is tried again; doubled each time
    std::chrono::milliseconds longest_pause{60'000};
    WriteFence* fence = nullptr;  ///< must outlive it. Null: this replica is alone
  };
  Preemptor(Engine& engine, ClusterApi& api, EventSink& events, const Clock& clock, Options options, metrics::Registry& registry);
  ~Preemptor();
  /// One round, as the thread does it (tests call it directly, without Start): looks after those who are leaving, then tries at most one waiting pod.
  void Tick();
  /// Pods for which room is held.
  std::size_t pending() const;
  void Start();
  void Stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace partage::scheduler
