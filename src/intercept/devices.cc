// SPDX-License-Identifier: Apache-2.0
#include "intercept/devices.h"

#include <atomic>

#include "intercept/runtime.h"
#include "intercept/table.h"

namespace partage::intercept {
namespace {

constexpr int kCudaDevices = 64;
constexpr unsigned kNvmlDevices = 64;

bool g_by_number = false;
bool g_sees_all = false;

/// Index + 2 by CUDA's number; 0: not asked yet.
std::atomic<signed char> g_cuda[kCudaDevices];

/// NVML's handles as met, with their index + 2.
struct NvmlDevice {
  std::atomic<nvmlDevice_t> handle{nullptr};
  std::atomic<signed char> index{0};
};
NvmlDevice g_nvml[kNvmlDevices];

int IndexOfNumber(unsigned number) { return number < shm::kMaxDevices ? static_cast<int>(number) : -1; }

/// As NVML prints it.
struct UuidText {
  explicit UuidText(const CUuuid& uuid) {
    char* at = text + 3;
    for (unsigned i = 0; i < 16; ++i) {
      const auto byte = static_cast<unsigned char>(uuid.bytes[i]);
      if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) *at++ = '-';
      *at++ = "0123456789abcdef"[byte >> 4];
      *at++ = "0123456789abcdef"[byte & 15];
    }
    *at = 0;
  }
  char text[48] = "GPU";
};

/// NVML's number of CUDA's device; CUDA's own where NVML does not say.
unsigned NumberOf(CUdevice device, const CUuuid& uuid) {
  const auto own = static_cast<unsigned>(device);
  int count = 0;
  if (g_sees_all && CallReal<Row::cuDeviceGetCount>(&count) == CUDA_SUCCESS && count == 1) return own;
  if (CallReal<Row::nvmlInit_v2>() != NVML_SUCCESS) return own;
  const UuidText name(uuid);
  nvmlDevice_t handle = nullptr;
  unsigned number = 0;
  const bool told = CallReal<Row::nvmlDeviceGetHandleByUUID>(&name.text[0], &handle) == NVML_SUCCESS &&
                    CallReal<Row::nvmlDeviceGetIndex>(handle, &number) == NVML_SUCCESS;
  CallReal<Row::nvmlShutdown>();
  return told ? number : own;
}

/// False: the driver could not say (not initialised yet, no such device).
bool AskCuda(CUdevice device, int* index) {
  CUuuid uuid = {};
  // The first version names a MIG device's parent.
  const CUresult result =
      DriverHas(Row::cuDeviceGetUuid_v2) ? CallReal<Row::cuDeviceGetUuid_v2>(&uuid, device) : CallReal<Row::cuDeviceGetUuid>(&uuid, device);
  if (result != CUDA_SUCCESS) return false;
  *index = g_by_number ? IndexOfNumber(NumberOf(device, uuid)) : limits().Find(uuid.bytes);
  return true;
}

bool AskNvml(nvmlDevice_t device, int* index) {
  unsigned number = 0;
  if (g_by_number && CallReal<Row::nvmlDeviceGetIndex>(device, &number) == NVML_SUCCESS) return *index = IndexOfNumber(number), true;
  char text[NVML_DEVICE_UUID_BUFFER_SIZE] = {};
  if (CallReal<Row::nvmlDeviceGetUUID>(device, text, static_cast<unsigned>(sizeof(text))) != NVML_SUCCESS) return false;
  unsigned char uuid[16];
  *index = shm::ParseUuid(text, uuid) ? limits().Find(uuid) : -1;
  return true;
}

}  // namespace

namespace devices {
void TellByNumber(bool sees_all) {
  g_by_number = true;
  g_sees_all = sees_all;
}
}  // namespace devices

int DeviceIndexOf(CUdevice device) {
  if (device < 0 || device >= kCudaDevices) return -1;
  const int known = g_cuda[device].load(std::memory_order_relaxed);
  if (known != 0) [[likely]]
    return known - 2;
  int index = -1;
  if (AskCuda(device, &index)) g_cuda[device].store(static_cast<signed char>(index + 2), std::memory_order_relaxed);
  return index;
}

int CurrentDeviceIndex() {
  CUdevice device = -1;
  return CallReal<Row::cuCtxGetDevice>(&device) == CUDA_SUCCESS ? DeviceIndexOf(device) : -1;
}

int DeviceIndexOf(nvmlDevice_t device) {
  for (NvmlDevice& known : g_nvml) {
    const nvmlDevice_t handle = known.handle.load(std::memory_order_acquire);
    if (handle == device && known.index.load(std::memory_order_acquire) != 0) return known.index.load(std::memory_order_relaxed) - 2;
    if (handle != nullptr) continue;
    int index = -1;
    nvmlDevice_t nobody = nullptr;
    if (!AskNvml(device, &index) || !known.handle.compare_exchange_strong(nobody, device)) return index;
    known.index.store(static_cast<signed char>(index + 2), std::memory_order_release);
    return index;
  }
  int index = -1;
  AskNvml(device, &index);
  return index;
}

}  // namespace partage::intercept
