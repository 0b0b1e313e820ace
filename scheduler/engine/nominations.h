// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "device/request.h"
#include "scheduler/state/cluster.h"

namespace partage::scheduler {

/// A waiting pod and the node it has been promised (status.nominatedNodeName).
struct Nomination {
  PodRef pod;
  std::string node;
  std::shared_ptr<const device::PodRequest> request;  ///< null: the one remembered from its filter
  bool by_partage = false;                            ///< a replica of ours wrote it, and takes it back when its claim ends
};

/// Nominations nobody has looked after yet: on standby they gather here until the replica becomes active. As many as pods wait with one. Thread-safe.
class Nominations {
 public:
  void Add(Nomination nomination);
  void Forget(std::string_view uid);
  /// Around a full read of the pods, which names all that there are. In between Take gives none: what makes room for them may not have been read yet.
  void BeginRead();
  void EndRead();
  /// Those added since the last call.
  std::vector<Nomination> Take();

 private:
  Mutex mutex_;
  std::unordered_map<std::string, Nomination> by_uid_ PARTAGE_GUARDED_BY(mutex_);
  bool reading_ PARTAGE_GUARDED_BY(mutex_) = false;
};

}  // namespace partage::scheduler
