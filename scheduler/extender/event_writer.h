// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "base/clock.h"
#include "metrics/registry.h"
#include "scheduler/extender/cluster_api.h"
#include "scheduler/extender/event_sink.h"
#include "scheduler/extender/write_fence.h"

namespace partage::scheduler {

/// Writes events of pods, from a thread of its own. Post never waits: what finds the queue full, its pod's or the overall allowance used up, or this replica on
/// standby, is dropped and counted. An event like one of the last `series` is not written anew: the count of that one goes up, at most once in `repeat`.
/// Thread-safe, but for Start and Stop. What is passed in must outlive it.
class EventWriter final : public EventSink {
 public:
  struct Options {
    std::chrono::milliseconds tick{200};
    std::size_t queue = 1'024;
    std::size_t remembered = 4'096;  ///< events that may be repeated
    std::chrono::seconds series{600};
    std::chrono::seconds repeat{20};
    double pod_burst = 10, pod_per_second = 0.1;  ///< new events of one pod
    double burst = 50, per_second = 10;           ///< requests to the API server
    std::string instance = "partage-scheduler";
    WriteFence* fence = nullptr;  ///< must outlive it. Null: this replica is alone
  };
  EventWriter(ClusterApi& api, const Clock& clock, Options options, metrics::Registry& registry);
  ~EventWriter() override;
  void Post(PodEvent event) override;
  /// One round, as the thread does it (tests call it directly, without Start).
  void Tick();
  void Start();
  /// What is queued is dropped. Idempotent.
  void Stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace partage::scheduler
