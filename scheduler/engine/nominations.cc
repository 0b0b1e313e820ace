// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/nominations.h"

#include <utility>

namespace partage::scheduler {

void Nominations::Add(Nomination nomination) {
  const MutexLock lock(mutex_);
  std::string uid = nomination.pod.uid;
  by_uid_.insert_or_assign(std::move(uid), std::move(nomination));
}

void Nominations::Forget(std::string_view uid) {
  const MutexLock lock(mutex_);
  by_uid_.erase(std::string(uid));
}

void Nominations::BeginRead() {
  const MutexLock lock(mutex_);
  by_uid_.clear();
  reading_ = true;
}

void Nominations::EndRead() {
  const MutexLock lock(mutex_);
  reading_ = false;
}

std::vector<Nomination> Nominations::Take() {
  const MutexLock lock(mutex_);
  std::vector<Nomination> taken;
  if (reading_) return taken;
  for (auto& [uid, nomination] : std::exchange(by_uid_, {})) taken.push_back(std::move(nomination));
  return taken;
}

}  // namespace partage::scheduler
