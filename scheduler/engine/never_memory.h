// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "device/request.h"
#include "scheduler/state/snapshot.h"

namespace partage::scheduler {

/// Answers of WhyNotWhenIdle as long as the nodes stay what they are, whatever runs on them: a burst of pods that ask for the same costs one look through
/// the cluster. Thread-safe.
class NeverMemory {
 public:
  using Answer = std::optional<std::string>;

  /// The answer for that snapshot and request; `look` finds it where it is not known. `look` is called with no lock held.
  Answer Recall(const Snapshot& snapshot, const device::PodRequest& request, const std::function<Answer()>& look);

 private:
  static constexpr std::size_t kMost = 16;  // requests; the oldest goes first

  struct Known {
    device::PodRequest request;
    Answer answer;
  };
  using Nodes = std::vector<decltype(Block::infos)>;  // of every block; kept alive, so that equal pointers mean equal nodes
  static bool AreNodesOf(const Nodes& nodes, const Snapshot& snapshot);
  const Known* Find(const device::PodRequest& request) const PARTAGE_REQUIRES(mutex_);

  Mutex mutex_;
  Nodes nodes_ PARTAGE_GUARDED_BY(mutex_);
  std::vector<Known> known_ PARTAGE_GUARDED_BY(mutex_);
};

}  // namespace partage::scheduler
