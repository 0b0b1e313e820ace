// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "device/request.h"
#include "scheduler/framework/policy.h"
#include "scheduler/state/cluster.h"

namespace partage::scheduler {

/// Why a pod went where it went: what its last successful filter saw.
struct Decision {
  PodRef pod;
  std::string node;
  Score score = 0;  ///< of that node, by the node policy; larger is better
  std::size_t candidates = 0;
  std::size_t shortlist = 0;  ///< nodes that were offered to kube-scheduler, this one first
  std::shared_ptr<const device::PodRequest> request;
};

/// The last kKept decisions, for people who ask. Thread-safe.
class DecisionLog {
 public:
  static constexpr std::size_t kKept = 8192;

  void Add(Decision decision);
  /// The latest for a pod of this name.
  std::optional<Decision> Find(std::string_view ns, std::string_view name) const;

 private:
  mutable Mutex mutex_;
  std::vector<Decision> ring_ PARTAGE_GUARDED_BY(mutex_);
  std::size_t next_ PARTAGE_GUARDED_BY(mutex_) = 0;
};

}  // namespace partage::scheduler
