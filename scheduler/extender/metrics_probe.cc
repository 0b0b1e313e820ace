// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/metrics_probe.h"

#include "metrics/catalog.h"

namespace partage::scheduler {

MetricsProbe::MetricsProbe(metrics::Registry& registry) : registry_(registry), races_(registry.GetCounter(metrics::kNominationRaces)) {}

void MetricsProbe::OnRefusal(std::string_view reason, std::size_t nodes) {
  registry_.GetCounter(metrics::kRefusals, {std::string(reason)}).Inc(static_cast<double>(nodes));
}

void MetricsProbe::OnNominationRace() { races_.Inc(); }

}  // namespace partage::scheduler
