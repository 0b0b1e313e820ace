// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "device/request.h"
#include "scheduler/state/snapshot.h"

namespace partage::scheduler {

/// Answers of WhyNotWhenIdle for one snapshot: a burst of pods that ask for the same costs one look through the cluster, as long as it stays as it is.
/// Thread-safe.
class NeverMemory {
 public:
  using Answer = std::optional<std::string>;

  /// The answer for that snapshot and request; `look` finds it where it is not known. `look` is called with no lock held.
  Answer Recall(const std::shared_ptr<const Snapshot>& snapshot, const device::PodRequest& request, const std::function<Answer()>& look);

 private:
  static constexpr std::size_t kMost = 16;  // requests; the oldest goes first

  struct Known {
    device::PodRequest request;
    Answer answer;
  };
  const Known* Find(const std::shared_ptr<const Snapshot>& snapshot, const device::PodRequest& request) const PARTAGE_REQUIRES(mutex_);

  Mutex mutex_;
  std::shared_ptr<const Snapshot> snapshot_ PARTAGE_GUARDED_BY(mutex_);
  std::vector<Known> known_ PARTAGE_GUARDED_BY(mutex_);
};

}  // namespace partage::scheduler
