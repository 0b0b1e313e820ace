// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/holdings.h"

namespace partage::intercept::memory {

bool Holdings::Put(std::uint64_t key, Holding holding, Holding* replaced) {
  Shard& shard = ShardOf(key);
  const Locked locked(shard.lock);
  Holding* place = shard.map.Place(key);
  if (place == nullptr) return false;
  *replaced = *place;
  *place = holding;
  return true;
}

bool Holdings::Take(std::uint64_t key, Kinds kinds, Holding* holding) {
  Shard& shard = ShardOf(key);
  const Locked locked(shard.lock);
  return shard.map.TakeIf(key, holding, [&](const Holding& found) { return kinds.Has(found.kind()); });
}

std::uint64_t Holdings::size() {
  std::uint64_t all = 0;
  for (Shard& shard : shards_) {
    const Locked locked(shard.lock);
    all += shard.map.size();
  }
  return all;
}

void Holdings::ResetInChild() {
  for (Shard& shard : shards_) {
    shard.lock.ResetInChild();
    shard.map.Clear();
  }
}

}  // namespace partage::intercept::memory
