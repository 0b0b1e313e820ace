// SPDX-License-Identifier: Apache-2.0
// A libnvidia-ml.so.1 with the toy driver's device.
#include <cstdio>

#include "intercept/api/nvml.h"

using namespace partage::intercept;

extern "C" {

nvmlReturn_t nvmlInit_v2() { return NVML_SUCCESS; }

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t* device) {
  static char devices[1];
  if (index != 0) return NVML_ERROR_INVALID_ARGUMENT;
  *device = reinterpret_cast<nvmlDevice_t>(devices);
  return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t, unsigned* index) {
  *index = 0;
  return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t, char* uuid, unsigned length) {
  std::snprintf(uuid, length, "GPU-abababab-abab-abab-abab-abababababab");
  return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t, nvmlMemory_t* memory) {
  *memory = {8ULL << 30, 7ULL << 30, 1ULL << 30};
  return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t, nvmlMemory_v2_t* memory) {
  *memory = {memory->version, 8ULL << 30, 1ULL << 28, 7ULL << 30, 3ULL << 28};
  return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t, nvmlUtilization_t* utilization) {
  *utilization = {55, 11};
  return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t, unsigned* count, nvmlProcessInfo_t* infos) {
  if (*count == 0) return *count = 1, NVML_ERROR_INSUFFICIENT_SIZE;
  infos[0] = {4242, 123, ~0U, ~0U};
  *count = 1;
  return NVML_SUCCESS;
}

}  // extern "C"
