// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "test/support/libcuda/cuda/driver.h"

namespace partage::fake_gpu {

GraphExec CopyToRun(const Graph& graph);

/// How long a run takes; 0 for a handle that is none. REQUIRES: the driver's lock.
int64_t GraphNs(Driver& driver, CUgraph handle);

}  // namespace partage::fake_gpu
