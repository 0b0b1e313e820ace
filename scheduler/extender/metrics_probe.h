// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "metrics/registry.h"
#include "scheduler/engine/probe.h"

namespace partage::scheduler {

/// Counts what the engine tells of itself. Filter times are not among it: the Extender takes them, from whole body to answer.
/// Made before the engine. Thread-safe. `registry` must outlive it.
class MetricsProbe final : public Probe {
 public:
  explicit MetricsProbe(metrics::Registry& registry);
  void OnRefusal(std::string_view reason, std::size_t nodes) override;
  void OnNominationRace() override;

 private:
  metrics::Registry& registry_;
  metrics::Registry::Counter races_;
};

}  // namespace partage::scheduler
