// SPDX-License-Identifier: Apache-2.0
// NVML: start and end, which devices there are, MIG, and plausible figures of what no test changes.
#include <atomic>
#include <cstdio>
#include <cstring>

#include "test/support/libcuda/nvml/nvml.h"

namespace partage::fake_gpu {
namespace {

std::atomic<int> started{0};

const std::vector<DeviceSpec>& Devices() { return Profile::Get().devices; }

/// Profile index of the n-th whole device (`parent` -1), or of the n-th MIG instance of a device; -1 when there is none.
int Nth(unsigned n, int parent) {
  for (size_t i = 0; i < Devices().size(); ++i) {
    if (Devices()[i].parent == parent && n-- == 0) return static_cast<int>(i);
  }
  return -1;
}

unsigned CountOf(int parent) {
  unsigned count = 0;
  while (Nth(count, parent) >= 0) ++count;
  return count;
}

/// How many devices with the same parent come before.
unsigned PlaceOf(int index) {
  unsigned place = 0;
  while (Nth(place, Devices()[static_cast<size_t>(index)].parent) != index) ++place;
  return place;
}

template <class Same>
nvmlReturn_t Search(nvmlDevice_t* out, Same same) {
  if (!NvmlReady()) return NVML_ERROR_UNINITIALIZED;
  for (size_t i = 0; i < Devices().size(); ++i) {
    if (same(Devices()[i])) return Give(out, HandleOf(static_cast<int>(i)));
  }
  return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t Start() {
  Profile::Get();
  ++started;
  return NVML_SUCCESS;
}

bool SamePci(const std::string& a, const char* b) {
  unsigned parts[2][3] = {};
  std::sscanf(a.c_str(), "%x:%x:%x", &parts[0][0], &parts[0][1], &parts[0][2]);
  std::sscanf(b, "%x:%x:%x", &parts[1][0], &parts[1][1], &parts[1][2]);
  return std::memcmp(parts[0], parts[1], sizeof(parts[0])) == 0;
}

nvmlReturn_t GiveOn(nvmlDevice_t device, unsigned* out, unsigned value) {
  return OnDevice(device, [&](int, const DeviceSpec&) { return Give(out, value); });
}

}  // namespace

bool NvmlReady() { return started > 0; }

// A handle is the address of a byte of this, so that a wild one is recognised.
static char handles[kMaxDevices];
nvmlDevice_t HandleOf(int index) { return reinterpret_cast<nvmlDevice_t>(&handles[index]); }
int IndexOf(nvmlDevice_t device) {
  const auto place = reinterpret_cast<uintptr_t>(device) - reinterpret_cast<uintptr_t>(handles);
  return place < Devices().size() ? static_cast<int>(place) : -1;
}

nvmlReturn_t GiveText(char* out, unsigned length, const std::string& text) {
  if (out == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
  if (length <= text.size()) return NVML_ERROR_INSUFFICIENT_SIZE;
  std::memcpy(out, text.c_str(), text.size() + 1);
  return NVML_SUCCESS;
}

FAKE_NVML(nvmlInit_v2)() { return Start(); }
FAKE_NVML_SAME(nvmlInit, nvmlInit_v2);
FAKE_NVML(nvmlInitWithFlags)(unsigned) { return Start(); }

FAKE_NVML(nvmlShutdown)() {
  int now = started.load();
  while (now > 0 && !started.compare_exchange_weak(now, now - 1)) continue;
  return now > 0 ? NVML_SUCCESS : NVML_ERROR_UNINITIALIZED;
}

FAKE_NVML(nvmlSystemGetDriverVersion)(char* out, unsigned length) {
  const std::string& chosen = Profile::Get().driver;
  return NvmlReady() ? GiveText(out, length, chosen.empty() ? DriverName() : chosen) : NVML_ERROR_UNINITIALIZED;
}
FAKE_NVML(nvmlSystemGetNVMLVersion)(char* out, unsigned length) {
  return GiveText(out, length, std::to_string(CudaVersion() / 1000) + "." + DriverName());
}
FAKE_NVML(nvmlSystemGetCudaDriverVersion)(int* out) { return Give(out, CudaVersion()); }
FAKE_NVML_SAME(nvmlSystemGetCudaDriverVersion_v2, nvmlSystemGetCudaDriverVersion);

FAKE_NVML(nvmlSystemGetProcessName)(unsigned pid, char* out, unsigned length) {
  char path[64], name[256] = {};
  std::snprintf(path, sizeof(path), "/proc/%u/comm", pid);
  if (FILE* file = std::fopen(path, "r")) {
    if (std::fscanf(file, "%255s", name) != 1) name[0] = '\0';
    std::fclose(file);
  }
  return name[0] == '\0' ? NVML_ERROR_NOT_FOUND : GiveText(out, length, name);
}

FAKE_NVML(nvmlDeviceGetCount_v2)(unsigned* out) { return NvmlReady() ? Give(out, CountOf(-1)) : NVML_ERROR_UNINITIALIZED; }
FAKE_NVML_SAME(nvmlDeviceGetCount, nvmlDeviceGetCount_v2);

FAKE_NVML(nvmlDeviceGetHandleByIndex_v2)(unsigned n, nvmlDevice_t* out) {
  if (!NvmlReady()) return NVML_ERROR_UNINITIALIZED;
  const int index = Nth(n, -1);
  return index < 0 ? NVML_ERROR_INVALID_ARGUMENT : Give(out, HandleOf(index));
}
FAKE_NVML_SAME(nvmlDeviceGetHandleByIndex, nvmlDeviceGetHandleByIndex_v2);

FAKE_NVML(nvmlDeviceGetHandleByUUID)(const char* uuid, nvmlDevice_t* out) {
  return uuid == nullptr ? NVML_ERROR_INVALID_ARGUMENT : Search(out, [&](const DeviceSpec& spec) { return spec.uuid == uuid; });
}
FAKE_NVML(nvmlDeviceGetHandleByPciBusId_v2)(const char* id, nvmlDevice_t* out) {
  return id == nullptr ? NVML_ERROR_INVALID_ARGUMENT
                       : Search(out, [&](const DeviceSpec& spec) { return spec.parent < 0 && SamePci(spec.pci, id); });
}
FAKE_NVML_SAME(nvmlDeviceGetHandleByPciBusId, nvmlDeviceGetHandleByPciBusId_v2);

FAKE_NVML(nvmlDeviceGetIndex)(nvmlDevice_t device, unsigned* out) {
  return OnDevice(device, [&](int index, const DeviceSpec&) { return Give(out, PlaceOf(index)); });
}
FAKE_NVML_SAME(nvmlDeviceGetMinorNumber, nvmlDeviceGetIndex);
FAKE_NVML(nvmlDeviceGetName)(nvmlDevice_t device, char* out, unsigned length) {
  return OnDevice(device, [&](int, const DeviceSpec& spec) { return GiveText(out, length, spec.name); });
}
FAKE_NVML(nvmlDeviceGetUUID)(nvmlDevice_t device, char* out, unsigned length) {
  return OnDevice(device, [&](int, const DeviceSpec& spec) { return GiveText(out, length, spec.uuid); });
}
FAKE_NVML(nvmlDeviceGetSerial)(nvmlDevice_t device, char* out, unsigned length) {
  return OnDevice(device, [&](int index, const DeviceSpec&) { return GiveText(out, length, "00000000000" + std::to_string(index)); });
}

FAKE_NVML(nvmlDeviceGetPciInfo_v3)(nvmlDevice_t device, nvmlPciInfo_t* out) {
  return OnDevice(device, [&](int, const DeviceSpec& spec) {
    if (out == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    *out = {};
    std::sscanf(spec.pci.c_str(), "%x:%x:%x", &out->domain, &out->bus, &out->device);
    std::snprintf(out->busId, sizeof(out->busId), "%s", spec.pci.c_str());
    std::snprintf(out->busIdLegacy, sizeof(out->busIdLegacy), "%04X:%02X:%02X.0", out->domain & 0xffff, out->bus & 0xff,
                  out->device & 0xff);
    out->pciDeviceId = 0x233010de;
    return NVML_SUCCESS;
  });
}
FAKE_NVML_SAME(nvmlDeviceGetPciInfo_v2, nvmlDeviceGetPciInfo_v3);
FAKE_NVML_SAME(nvmlDeviceGetPciInfo, nvmlDeviceGetPciInfo_v3);

FAKE_NVML(nvmlDeviceGetCudaComputeCapability)(nvmlDevice_t device, int* major, int* minor) {
  return OnDevice(device, [&](int, const DeviceSpec& spec) {
    const nvmlReturn_t result = Give(major, spec.major);
    return result == NVML_SUCCESS ? Give(minor, spec.minor) : result;
  });
}

FAKE_NVML(nvmlDeviceGetPersistenceMode)(nvmlDevice_t device, nvmlEnableState_t* out) {
  return OnDevice(device, [&](int, const DeviceSpec&) { return Give(out, NVML_FEATURE_ENABLED); });
}
FAKE_NVML(nvmlDeviceGetDisplayMode)(nvmlDevice_t device, nvmlEnableState_t* out) {
  return OnDevice(device, [&](int, const DeviceSpec&) { return Give(out, NVML_FEATURE_DISABLED); });
}
FAKE_NVML_SAME(nvmlDeviceGetDisplayActive, nvmlDeviceGetDisplayMode);
FAKE_NVML_SAME(nvmlDeviceGetAccountingMode, nvmlDeviceGetDisplayMode);
FAKE_NVML(nvmlDeviceGetComputeMode)(nvmlDevice_t device, nvmlComputeMode_t* out) {
  return OnDevice(device, [&](int, const DeviceSpec&) { return Give(out, 0); });
}
FAKE_NVML(nvmlDeviceGetPerformanceState)(nvmlDevice_t device, nvmlPstates_t* out) {
  return OnDevice(device, [&](int, const DeviceSpec&) { return Give(out, 0); });
}
FAKE_NVML(nvmlDeviceGetTemperature)(nvmlDevice_t device, nvmlTemperatureSensors_t, unsigned* out) { return GiveOn(device, out, 40); }
FAKE_NVML(nvmlDeviceGetPowerUsage)(nvmlDevice_t device, unsigned* out) { return GiveOn(device, out, 100'000); }
FAKE_NVML(nvmlDeviceGetEnforcedPowerLimit)(nvmlDevice_t device, unsigned* out) { return GiveOn(device, out, 700'000); }
FAKE_NVML(nvmlDeviceGetPowerManagementLimit)(nvmlDevice_t device, unsigned* out) { return GiveOn(device, out, 700'000); }

FAKE_NVML(nvmlDeviceGetMigMode)(nvmlDevice_t device, unsigned* current, unsigned* pending) {
  return OnDevice(device, [&](int index, const DeviceSpec&) {
    const unsigned on = CountOf(index) > 0;
    const nvmlReturn_t result = Give(current, on);
    return result == NVML_SUCCESS ? Give(pending, on) : result;
  });
}
FAKE_NVML(nvmlDeviceGetMaxMigDeviceCount)(nvmlDevice_t device, unsigned* out) {
  return OnDevice(device, [&](int index, const DeviceSpec&) { return Give(out, CountOf(index) > 0 ? 7 : 0); });
}
FAKE_NVML(nvmlDeviceGetMigDeviceHandleByIndex)(nvmlDevice_t device, unsigned n, nvmlDevice_t* out) {
  return OnDevice(device, [&](int index, const DeviceSpec&) {
    const int mig = Nth(n, index);
    return mig < 0 ? NVML_ERROR_NOT_FOUND : Give(out, HandleOf(mig));
  });
}
FAKE_NVML(nvmlDeviceGetDeviceHandleFromMigDeviceHandle)(nvmlDevice_t device, nvmlDevice_t* out) {
  return OnDevice(device, [&](int, const DeviceSpec& spec) {
    return spec.parent < 0 ? NVML_ERROR_INVALID_ARGUMENT : Give(out, HandleOf(spec.parent));
  });
}
FAKE_NVML(nvmlDeviceIsMigDeviceHandle)(nvmlDevice_t device, unsigned* out) {
  return OnDevice(device, [&](int, const DeviceSpec& spec) { return Give(out, spec.parent >= 0); });
}
FAKE_NVML(nvmlDeviceGetGpuInstanceId)(nvmlDevice_t device, unsigned* out) {
  return OnDevice(device, [&](int index, const DeviceSpec& spec) {
    return spec.parent < 0 ? NVML_ERROR_INVALID_ARGUMENT : Give(out, PlaceOf(index) + 1);
  });
}
FAKE_NVML(nvmlDeviceGetComputeInstanceId)(nvmlDevice_t device, unsigned* out) {
  return OnDevice(device, [&](int, const DeviceSpec& spec) { return spec.parent < 0 ? NVML_ERROR_INVALID_ARGUMENT : Give(out, 0); });
}
FAKE_NVML(nvmlDeviceGetAttributes_v2)(nvmlDevice_t device, nvmlDeviceAttributes_t* out) {
  return OnDevice(device, [&](int, const DeviceSpec& spec) {
    if (out == nullptr || spec.parent < 0) return NVML_ERROR_INVALID_ARGUMENT;
    *out = {.multiprocessorCount = static_cast<unsigned>(spec.sms),
            .gpuInstanceSliceCount = 1,
            .computeInstanceSliceCount = 1,
            .memorySizeMB = spec.memory >> 20};
    return NVML_SUCCESS;
  });
}
FAKE_NVML_SAME(nvmlDeviceGetAttributes, nvmlDeviceGetAttributes_v2);

/// Outside the table because it is nobody's to change.
extern "C" __attribute__((visibility("default"))) const char* nvmlErrorString(nvmlReturn_t code);
extern "C" __attribute__((visibility("default"))) const char* nvmlErrorString(nvmlReturn_t code) {
  switch (code) {
    case NVML_SUCCESS: return "Success";
    case NVML_ERROR_UNINITIALIZED: return "Uninitialized";
    case NVML_ERROR_INVALID_ARGUMENT: return "Invalid Argument";
    case NVML_ERROR_NOT_SUPPORTED: return "Not Supported";
    case NVML_ERROR_NOT_FOUND: return "Not Found";
    case NVML_ERROR_INSUFFICIENT_SIZE: return "Insufficient Size";
    default: return "Unknown Error";
  }
}

}  // namespace partage::fake_gpu
