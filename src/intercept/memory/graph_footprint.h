// SPDX-License-Identifier: Apache-2.0
// How much memory a graph owns while it runs.
#pragma once

#include "intercept/api/cuda.h"
#include "intercept/memory/covered.h"

namespace partage::intercept::memory {

/// Asks the driver for the nodes of a graph and of those inside it. False: it has none that allocate on a limited device, or does not tell.
bool FootprintOf(CUgraph graph, GraphFootprint* footprint);

}  // namespace partage::intercept::memory
