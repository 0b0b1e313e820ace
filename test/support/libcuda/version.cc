// SPDX-License-Identifier: Apache-2.0
// Compiled once for each driver version; the only part that knows which one it is.
#include "test/support/libcuda/version.h"

namespace partage::fake_gpu {

int CudaVersion() { return FAKE_CUDA_VERSION; }
const char* DriverName() { return FAKE_DRIVER_NAME; }

}  // namespace partage::fake_gpu
