// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/decision_log.h"

#include <utility>

namespace partage::scheduler {

void DecisionLog::Add(Decision decision) {
  MutexLock lock(mutex_);
  if (ring_.size() < kKept) {
    ring_.push_back(std::move(decision));
  } else {
    ring_[next_] = std::move(decision);
  }
  next_ = (next_ + 1) % kKept;
}

std::optional<Decision> DecisionLog::Find(std::string_view ns, std::string_view name) const {
  MutexLock lock(mutex_);
  for (std::size_t back = 1; back <= ring_.size(); ++back) {
    const Decision& decision = ring_[(next_ + kKept - back) % kKept];
    if (decision.pod.ns == ns && decision.pod.name == name) return decision;
  }
  return std::nullopt;
}

}  // namespace partage::scheduler
