// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/never_memory.h"

#include <algorithm>

namespace partage::scheduler {

NeverMemory::Answer NeverMemory::Recall(const std::shared_ptr<const Snapshot>& snapshot, const device::PodRequest& request,
                                        const std::function<Answer()>& look) {
  {
    const MutexLock lock(mutex_);
    if (const auto* known = Find(snapshot, request)) return known->answer;
  }
  auto answer = look();
  const MutexLock lock(mutex_);
  if (snapshot_ != snapshot) known_.clear();
  snapshot_ = snapshot;
  if (Find(snapshot, request) != nullptr) return answer;
  if (known_.size() == kMost) known_.erase(known_.begin());
  known_.push_back({request, answer});
  return answer;
}

const NeverMemory::Known* NeverMemory::Find(const std::shared_ptr<const Snapshot>& snapshot, const device::PodRequest& request) const {
  if (snapshot_ != snapshot) return nullptr;
  const auto found = std::find_if(known_.begin(), known_.end(), [&](const Known& known) { return known.request == request; });
  return found == known_.end() ? nullptr : &*found;
}

}  // namespace partage::scheduler
