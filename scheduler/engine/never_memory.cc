// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/never_memory.h"

#include <algorithm>

namespace partage::scheduler {

NeverMemory::Answer NeverMemory::Recall(const Snapshot& snapshot, const device::PodRequest& request, const std::function<Answer()>& look) {
  {
    const MutexLock lock(mutex_);
    const auto* known = AreNodesOf(nodes_, snapshot) ? Find(request) : nullptr;
    if (known != nullptr) return known->answer;
  }
  auto answer = look();
  const MutexLock lock(mutex_);
  if (!AreNodesOf(nodes_, snapshot)) {
    known_.clear();
    nodes_.clear();
    for (const auto& block : snapshot.blocks) nodes_.push_back(block->infos);
  }
  if (Find(request) != nullptr) return answer;
  if (known_.size() == kMost) known_.erase(known_.begin());
  known_.push_back({request, answer});
  return answer;
}

bool NeverMemory::AreNodesOf(const Nodes& nodes, const Snapshot& snapshot) {
  return std::equal(nodes.begin(), nodes.end(), snapshot.blocks.begin(), snapshot.blocks.end(),
                    [](const auto& infos, const auto& block) { return infos == block->infos; });
}

const NeverMemory::Known* NeverMemory::Find(const device::PodRequest& request) const {
  const auto found = std::find_if(known_.begin(), known_.end(), [&](const Known& known) { return known.request == request; });
  return found == known_.end() ? nullptr : &*found;
}

}  // namespace partage::scheduler
