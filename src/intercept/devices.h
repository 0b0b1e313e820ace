// SPDX-License-Identifier: Apache-2.0
// Devices are known by their UUID: CUDA numbers them by speed and by CUDA_VISIBLE_DEVICES, NVML by bus, the limits file by itself.
// The functions that map them are in runtime.h.
#pragma once

namespace partage::intercept::devices {

/// The limits come from variables that name no UUIDs: the i-th device of CUDA and the i-th of NVML have index i. Before the process is active.
void TellByNumber();

}  // namespace partage::intercept::devices
