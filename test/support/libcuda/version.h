// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace partage::fake_gpu {

/// The newest CUDA that the driver knows, as 1000 * major + 10 * minor.
int CudaVersion();
/// The driver's own version, e.g. "550.163.01".
const char* DriverName();

}  // namespace partage::fake_gpu
