// SPDX-License-Identifier: Apache-2.0
// Devices are known by their UUID: CUDA numbers them by speed and by CUDA_VISIBLE_DEVICES, NVML by bus, the limits file by itself.
// The functions that map them are in runtime.h.
#pragma once

namespace partage::intercept::devices {

/// The limits come from variables that name no UUIDs: NVML's i-th device, which is the container's i-th, has index i, and CUDA's is found in NVML by its
/// UUID. `sees_all`: CUDA sees all devices, so that a single one needs no question to NVML. Before the process is active.
void TellByNumber(bool sees_all);

}  // namespace partage::intercept::devices
