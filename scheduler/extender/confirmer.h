// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>

#include "scheduler/extender/cluster_api.h"
#include "scheduler/state/cluster.h"

namespace partage::scheduler {

/// Asks the API server about binds that a full read of the pods left in doubt (Cluster::DoubtfulPods): a pod that was bound and gone between two reads would hold
/// its share for ever. The watch is given time first, so that in ordinary times nothing is asked. Owns one thread. Thread-safe, but for Start and Stop. What is
/// passed in must outlive it.
class Confirmer {
 public:
  /// Between two rounds. A pod is asked about when it was in doubt a round before already.
  static constexpr std::chrono::seconds kRound{2};

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
