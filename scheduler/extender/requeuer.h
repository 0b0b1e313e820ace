// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>

#include "base/clock.h"
#include "metrics/registry.h"
#include "scheduler/engine/engine.h"
#include "scheduler/extender/cluster_api.h"

namespace partage::scheduler {

/// Annotation patched to wake kube-scheduler; its value is the time, so that every patch is a change.
inline constexpr std::string_view kRequeueAnnotation = "partage.dev/requeue";

/// Has kube-scheduler retry pods refused for want of a share, within a second of the share coming free instead of its own five minutes: when a node on which
/// something became free would take a waiting pod, one annotation of that node is patched. At most one patch per `min_interval`, none while nobody waits. A
/// patch that fails is tried again; one that names a node that is gone, with another node.
/// Also ends nominal shares whose time has passed. Owns one thread. Thread-safe, but for Start and Stop. What is passed in must outlive it.
class Requeuer {
 public:
  struct Options {
    std::chrono::milliseconds tick{100};
    std::chrono::milliseconds min_interval{400};
  };
  Requeuer(Engine& engine, ClusterApi& api, const Clock& clock, Options options, metrics::Registry& registry);
  ~Requeuer();
  /// One round, as the thread does it (tests call it directly, without Start).
  void Tick();
  void Start();
  void Stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace partage::scheduler
