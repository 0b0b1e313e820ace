// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "main/cluster_source.h"
#include "sim/sim_spec.h"

namespace partage::app {

/// A simulated cluster in this process. Adds `DELETE /sim/pods?pod=NAMESPACE/NAME` to the debug listener.
std::unique_ptr<ClusterSource> MakeSimSource(sim::SimSpec spec, std::string file, Feed feed);

}  // namespace partage::app
