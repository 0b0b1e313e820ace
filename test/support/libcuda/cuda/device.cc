// SPDX-License-Identifier: Apache-2.0
// Devices: identity, attributes, and how much memory they have.
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "test/support/libcuda/cuda/driver.h"

namespace partage::fake_gpu {
namespace {

constexpr uint64_t kFastMemory = uint64_t{80} << 30;  // of any device in fast mode

const DeviceSpec& Spec(CUdevice device) { return Profile::Get().devices[static_cast<size_t>(GpuOf(device))]; }

/// Runs `body(spec)` when CUDA works and the device is one.
template <class Body>
CUresult OnDevice(CUdevice device, Body body) {
  if (const CUresult error = Initialised(); error != CUDA_SUCCESS) return error;
  return ValidDevice(device) ? body(Spec(device)) : CUDA_ERROR_INVALID_DEVICE;
}

CUresult CopyText(const std::string& text, char* out, int length) {
  if (out == nullptr || length <= 0) return CUDA_ERROR_INVALID_VALUE;
  std::snprintf(out, static_cast<size_t>(length), "%s", text.c_str());
  return CUDA_SUCCESS;
}

/// "GPU-01234567-89ab-…" → its 16 bytes.
CUuuid UuidBytes(const std::string& text) {
  CUuuid uuid{};
  std::string digits;
  for (const char c : text.substr(std::min<size_t>(4, text.size()))) {
    if (c != '-') digits += c;
  }
  for (size_t i = 0; i < 16 && 2 * i + 2 <= digits.size(); ++i) std::from_chars(&digits[2 * i], &digits[2 * i + 2], uuid.bytes[i], 16);
  return uuid;
}

int PciPart(const std::string& pci, int part) {
  unsigned domain = 0, bus = 0, device = 0;
  std::sscanf(pci.c_str(), "%x:%x:%x", &domain, &bus, &device);
  return static_cast<int>(part == 0 ? domain : part == 1 ? bus : device);
}

int Attribute(const DeviceSpec& spec, CUdevice_attribute attribute) {
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return 1024;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return 32;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return spec.sms;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return 2048;
    case CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID: return PciPart(spec.pci, 0);
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: return PciPart(spec.pci, 1);
    case CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID: return PciPart(spec.pci, 2);
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return spec.major;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return spec.minor;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
    case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: return 1;
    default: return 0;
  }
}

/// Of CUDA 2's interface: the most that 32 bits can say.
unsigned Narrow(size_t bytes) { return bytes > UINT32_MAX ? UINT32_MAX : static_cast<unsigned>(bytes); }

}  // namespace

FAKE_CUDA(cuDeviceGetCount)(int* count) {
  if (const CUresult error = Initialised(); error != CUDA_SUCCESS) return error;
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *count = static_cast<int>(Driver::Get().visible.size());
  return CUDA_SUCCESS;
}

FAKE_CUDA(cuDeviceGet)(CUdevice* out, int ordinal) {
  return OnDevice(ordinal, [&](const DeviceSpec&) { return out == nullptr ? CUDA_ERROR_INVALID_VALUE : (*out = ordinal, CUDA_SUCCESS); });
}

FAKE_CUDA(cuDeviceGetName)(char* name, int length, CUdevice device) {
  return OnDevice(device, [&](const DeviceSpec& spec) { return CopyText(spec.name, name, length); });
}

FAKE_CUDA(cuDeviceGetAttribute)(int* out, CUdevice_attribute attribute, CUdevice device) {
  return OnDevice(device, [&](const DeviceSpec& spec) {
    return out == nullptr ? CUDA_ERROR_INVALID_VALUE : (*out = Attribute(spec, attribute), CUDA_SUCCESS);
  });
}

FAKE_CUDA(cuDeviceComputeCapability)(int* major, int* minor, CUdevice device) {
  return OnDevice(device, [&](const DeviceSpec& spec) {
    if (major == nullptr || minor == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *major = spec.major;
    *minor = spec.minor;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuDeviceGetUuid)(CUuuid* uuid, CUdevice device) {
  return OnDevice(device, [&](const DeviceSpec& spec) {
    if (uuid == nullptr) return CUDA_ERROR_INVALID_VALUE;
    // For a MIG instance this old call gives the whole device's.
    *uuid = UuidBytes(spec.parent < 0 ? spec.uuid : Profile::Get().devices[static_cast<size_t>(spec.parent)].uuid);
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuDeviceGetUuid_v2)(CUuuid* uuid, CUdevice device) {
  return OnDevice(device, [&](const DeviceSpec& spec) {
    return uuid == nullptr ? CUDA_ERROR_INVALID_VALUE : (*uuid = UuidBytes(spec.uuid), CUDA_SUCCESS);
  });
}

FAKE_CUDA(cuDeviceGetPCIBusId)(char* out, int length, CUdevice device) {
  return OnDevice(device, [&](const DeviceSpec& spec) { return CopyText(spec.pci.substr(spec.pci.size() > 12 ? 4 : 0), out, length); });
}

FAKE_CUDA(cuDeviceGetByPCIBusId)(CUdevice* out, const char* id) {
  if (const CUresult error = Initialised(); error != CUDA_SUCCESS) return error;
  if (out == nullptr || id == nullptr) return CUDA_ERROR_INVALID_VALUE;
  for (CUdevice device = 0; ValidDevice(device); ++device) {
    bool same = true;
    for (const int part : {0, 1, 2}) same = same && PciPart(id, part) == PciPart(Spec(device).pci, part);
    if (same) return *out = device, CUDA_SUCCESS;
  }
  return CUDA_ERROR_INVALID_DEVICE;
}

FAKE_CUDA(cuDeviceCanAccessPeer)(int* can, CUdevice device, CUdevice peer) {
  return OnDevice(device,
                  [&](const DeviceSpec&) { return can == nullptr ? CUDA_ERROR_INVALID_VALUE : (*can = device != peer, CUDA_SUCCESS); });
}

FAKE_CUDA(cuDeviceGetP2PAttribute)(int* value, CUdevice_P2PAttribute, CUdevice device, CUdevice peer) {
  return fake_cuDeviceCanAccessPeer(value, device, peer);
}

FAKE_CUDA(cuDeviceTotalMem_v2)(size_t* bytes, CUdevice device) {
  return OnDevice(device, [&](const DeviceSpec& spec) {
    if (bytes == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *bytes = FastMode() ? spec.memory : Gpus::Get().Capacity(GpuOf(device));
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuDeviceTotalMem)(unsigned* bytes, CUdevice device) {
  size_t wide = 0;
  const CUresult result = fake_cuDeviceTotalMem_v2(bytes == nullptr ? nullptr : &wide, device);
  if (result == CUDA_SUCCESS) *bytes = Narrow(wide);
  return result;
}

FAKE_CUDA(cuMemGetInfo_v2)(size_t* free, size_t* total) {
  if (FastMode()) {
    *free = *total = kFastMemory;
    return CUDA_SUCCESS;
  }
  Context* context = nullptr;
  if (const CUresult error = CurrentContext(context); error != CUDA_SUCCESS) return error;
  const uint64_t capacity = Gpus::Get().Capacity(context->gpu);
  if (free != nullptr) *free = capacity - Gpus::Get().UsedBytes(context->gpu);
  if (total != nullptr) *total = capacity;
  return CUDA_SUCCESS;
}

FAKE_CUDA(cuMemGetInfo)(unsigned* free, unsigned* total) {
  size_t wide_free = 0, wide_total = 0;
  const CUresult result = fake_cuMemGetInfo_v2(&wide_free, &wide_total);
  if (result == CUDA_SUCCESS && free != nullptr) *free = Narrow(wide_free);
  if (result == CUDA_SUCCESS && total != nullptr) *total = Narrow(wide_total);
  return result;
}

}  // namespace partage::fake_gpu
