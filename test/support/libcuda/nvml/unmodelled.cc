// SPDX-License-Identifier: Apache-2.0
// NVML's exports without a model: there, and not supported. With them the real nvidia-smi accepts this library (README.md).
#include "test/support/libcuda/nvml/nvml.h"

#define FAKE_EXPORT(result, name)                                \
  extern "C" __attribute__((visibility("default"))) result name; \
  extern "C" __attribute__((visibility("default"))) result name

namespace partage::fake_gpu {

#define FAKE_NVML_UNMODELLED(name, since) \
  FAKE_EXPORT(nvmlReturn_t, name()) { return NVML_ERROR_NOT_SUPPORTED; }
#include "test/support/libcuda/nvml/unmodelled.inc"
#undef FAKE_NVML_UNMODELLED

/// A set in which nothing ever happens: what waits for it is not supported.
FAKE_EXPORT(nvmlReturn_t, nvmlEventSetCreate(void** set)) {
  static char handle;
  return Give(set, &handle);
}
FAKE_EXPORT(nvmlReturn_t, nvmlEventSetFree(void* set)) { return set == nullptr ? NVML_ERROR_INVALID_ARGUMENT : NVML_SUCCESS; }

/// NVIDIA's tables of functions without a name begin with their size in bytes; this one holds nothing else, and is looked at no further.
FAKE_EXPORT(nvmlReturn_t, nvmlInternalGetExportTable(const void** table, const void*)) {
  static constexpr size_t kEmpty[] = {sizeof(size_t)};
  return Give(table, kEmpty);
}

}  // namespace partage::fake_gpu
