// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "scheduler/state/cluster.h"

namespace partage::scheduler {

/// Something people should read on a pod (`kubectl describe pod`). The same words for the same fact: equal events are counted together.
struct PodEvent {
  PodRef pod;
  bool warning = false;
  std::string reason;  ///< one word: "Preempting"
  std::string action;  ///< one word, what was tried: "Preempting"
  std::string note;
};

/// Takes events. Thread-safe; never blocks, never fails.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void Post(PodEvent event) = 0;
};

}  // namespace partage::scheduler
