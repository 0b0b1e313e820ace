// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>

#include "scheduler/extender/cluster_api.h"
#include "scheduler/state/cluster.h"

namespace partage::scheduler {

/// Asks the API server about binds that no watch shows (Cluster::DoubtfulPods): a pod that was bound and gone between two reads of the pods, or that had finished
/// when it was bound, would hold its share until the next full read. The watch is given time first, so that in ordinary times nothing is asked. Owns one thread.
/// Thread-safe, but for Start and Stop. What is passed in must outlive it.
class Confirmer {
 public:
  /// Between two rounds. A pod is asked about when it was in doubt a round before already.
  static constexpr std::chrono::seconds kRound{2};
  /// A round: while there is no watch, every pod that is bound comes into doubt, and the full read that follows will settle most.
  static constexpr int kMostAsked = 50;

  Confirmer(Cluster& cluster, ClusterApi& api);
  ~Confirmer();
  /// One round, as the thread does it (tests call it directly, without Start).
  void Tick();
  void Start();
  void Stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace partage::scheduler
