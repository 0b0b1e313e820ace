// SPDX-License-Identifier: Apache-2.0
// The part of NVML's binary interface that Partage touches, in the manner of cuda.h: only what is read or written has a body.
#pragma once
#include <cstddef>
#include <cstdint>

namespace partage::intercept {

using nvmlDevice_t = struct nvmlDevice_st*;

enum nvmlReturn_t : unsigned {
  NVML_SUCCESS = 0,
  NVML_ERROR_UNINITIALIZED = 1,
  NVML_ERROR_INVALID_ARGUMENT = 2,
  NVML_ERROR_NOT_SUPPORTED = 3,
  NVML_ERROR_NO_PERMISSION = 4,
  NVML_ERROR_NOT_FOUND = 6,
  NVML_ERROR_INSUFFICIENT_SIZE = 7,
  NVML_ERROR_DRIVER_NOT_LOADED = 9,
  NVML_ERROR_LIBRARY_NOT_FOUND = 12,
  NVML_ERROR_FUNCTION_NOT_FOUND = 13,
  NVML_ERROR_GPU_IS_LOST = 15,
  NVML_ERROR_ARGUMENT_VERSION_MISMATCH = 25,
  NVML_ERROR_UNKNOWN = 999,
};

enum nvmlBrandType_t : unsigned;
enum nvmlClockType_t : unsigned;
enum nvmlComputeMode_t : unsigned;
enum nvmlEnableState_t : unsigned { NVML_FEATURE_DISABLED = 0, NVML_FEATURE_ENABLED = 1 };
enum nvmlPstates_t : unsigned;
enum nvmlSamplingType_t : unsigned;
enum nvmlTemperatureSensors_t : unsigned { NVML_TEMPERATURE_GPU = 0 };
enum nvmlTemperatureThresholds_t : unsigned;
enum nvmlValueType_t : unsigned { NVML_VALUE_TYPE_UNSIGNED_LONG_LONG = 3 };

struct nvmlAccountingStats_t;
struct nvmlPciInfoExt_t;
struct nvmlTemperature_t;
struct nvmlUUID_t;

/// NVML's "version" members: the struct's size with the version in the top byte.
constexpr unsigned NvmlStructVersion(size_t size, unsigned version) { return static_cast<unsigned>(size) | version << 24; }

constexpr unsigned NVML_DEVICE_UUID_BUFFER_SIZE = 80;  // enough for "MIG-GPU-<uuid>/<gi>/<ci>" too
constexpr unsigned long long NVML_VALUE_NOT_AVAILABLE = ~0ULL;

struct nvmlMemory_t {
  unsigned long long total, free, used;
};
static_assert(sizeof(nvmlMemory_t) == 24);

struct nvmlMemory_v2_t {
  unsigned version;
  unsigned long long total, reserved, free, used;
};
static_assert(sizeof(nvmlMemory_v2_t) == 40);

struct nvmlBAR1Memory_t {
  unsigned long long bar1Total, bar1Free, bar1Used;
};
static_assert(sizeof(nvmlBAR1Memory_t) == 24);

struct nvmlUtilization_t {
  unsigned gpu, memory;
};
static_assert(sizeof(nvmlUtilization_t) == 8);

struct nvmlProcessInfo_v1_t {
  unsigned pid;
  unsigned long long usedGpuMemory;
};
static_assert(sizeof(nvmlProcessInfo_v1_t) == 16);

struct nvmlProcessInfo_t {  // of the _v2 and _v3 entry points
  unsigned pid;
  unsigned long long usedGpuMemory;
  unsigned gpuInstanceId, computeInstanceId;
};
static_assert(sizeof(nvmlProcessInfo_t) == 24);

struct nvmlProcessDetail_v1_t {
  unsigned pid;
  unsigned long long usedGpuMemory;
  unsigned gpuInstanceId, computeInstanceId;
  unsigned long long usedGpuCcProtectedMemory;
};
static_assert(sizeof(nvmlProcessDetail_v1_t) == 32);

struct nvmlProcessDetailList_t {
  unsigned version, mode, numProcArrayEntries;
  nvmlProcessDetail_v1_t* procArray;
};
static_assert(sizeof(nvmlProcessDetailList_t) == 24);

struct nvmlProcessUtilizationSample_t {
  unsigned pid;
  unsigned long long timeStamp;  // microseconds
  unsigned smUtil, memUtil, encUtil, decUtil;
};
static_assert(sizeof(nvmlProcessUtilizationSample_t) == 32);

struct nvmlProcessUtilizationInfo_v1_t {
  unsigned long long timeStamp;
  unsigned pid, smUtil, memUtil, encUtil, decUtil, jpgUtil, ofaUtil;
};
static_assert(sizeof(nvmlProcessUtilizationInfo_v1_t) == 40);

struct nvmlProcessesUtilizationInfo_t {
  unsigned version, processSamplesCount;
  unsigned long long lastSeenTimeStamp;
  nvmlProcessUtilizationInfo_v1_t* procUtilArray;
};
static_assert(sizeof(nvmlProcessesUtilizationInfo_t) == 24);

union nvmlValue_t {
  double dVal;
  int siVal;
  unsigned uiVal;
  unsigned long ulVal;
  unsigned long long ullVal;
  signed long long sllVal;
};
static_assert(sizeof(nvmlValue_t) == 8);

struct nvmlSample_t {
  unsigned long long timeStamp;
  nvmlValue_t sampleValue;
};
static_assert(sizeof(nvmlSample_t) == 16);

struct nvmlFieldValue_t {
  unsigned fieldId, scopeId;
  long long timestamp, latencyUsec;
  nvmlValueType_t valueType;
  nvmlReturn_t nvmlReturn;
  nvmlValue_t value;
};
static_assert(sizeof(nvmlFieldValue_t) == 40);

struct nvmlPciInfo_t {
  char busIdLegacy[16];
  unsigned domain, bus, device, pciDeviceId, pciSubSystemId;
  char busId[32];
};
static_assert(sizeof(nvmlPciInfo_t) == 68);

struct nvmlDeviceAttributes_t {
  unsigned multiprocessorCount, sharedCopyEngineCount, sharedDecoderCount, sharedEncoderCount, sharedJpegCount, sharedOfaCount;
  unsigned gpuInstanceSliceCount, computeInstanceSliceCount;
  unsigned long long memorySizeMB;
};
static_assert(sizeof(nvmlDeviceAttributes_t) == 40);

}  // namespace partage::intercept
