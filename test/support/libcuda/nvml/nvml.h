// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "src/intercept/api/nvml.h"
#include "test/support/libcuda/gpu/gpus.h"
#include "test/support/libcuda/gpu/profile.h"
#include "test/support/libcuda/version.h"

/// As FAKE_CUDA and FAKE_CUDA_SAME, for libnvidia-ml.so.1.
#define FAKE_NVML(name) extern "C" __attribute__((visibility("hidden"))) nvmlReturn_t fake_##name
#define FAKE_NVML_SAME(other, name) \
  extern "C" __attribute__((visibility("hidden"), alias("fake_" #name))) decltype(fake_##name) fake_##other

namespace partage::fake_gpu {

using namespace intercept;

#define PARTAGE_NVML_FUNCTION(result, name, parameters, arguments, since, group) \
  extern "C" __attribute__((visibility("hidden"))) result fake_##name parameters;
#include "src/intercept/api/nvml_functions.inc"
#undef PARTAGE_NVML_FUNCTION

/// Whether nvmlInit has been called, as often as nvmlShutdown and once more.
bool NvmlReady();

/// The profile's index of a device; -1 for what is no handle.
int IndexOf(nvmlDevice_t device);
nvmlDevice_t HandleOf(int index);

/// Runs `body(index, spec)` when NVML is initialised and the handle is a device's.
template <class Body>
nvmlReturn_t OnDevice(nvmlDevice_t device, Body body) {
  if (!NvmlReady()) return NVML_ERROR_UNINITIALIZED;
  const int index = IndexOf(device);
  return index < 0 ? NVML_ERROR_INVALID_ARGUMENT : body(index, Profile::Get().devices[static_cast<size_t>(index)]);
}

/// Stores `value` through `out`, or says that there is nowhere to store it.
template <class T, class Value>
nvmlReturn_t Give(T* out, Value value) {
  if (out == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
  *out = static_cast<T>(value);
  return NVML_SUCCESS;
}

nvmlReturn_t GiveText(char* out, unsigned length, const std::string& text);

}  // namespace partage::fake_gpu
