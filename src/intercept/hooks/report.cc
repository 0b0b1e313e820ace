// SPDX-License-Identifier: Apache-2.0
// What CUDA says about a device's memory: the share, as nvml.cc says it too.
#include <cstdint>

#include "intercept/hook.h"
#include "intercept/share.h"

namespace partage::intercept {
namespace {

/// Of 32-bit interfaces, which drivers still export: what does not fit reads as the most that does.
unsigned Narrow(std::uint64_t bytes) { return bytes > UINT32_MAX ? UINT32_MAX : static_cast<unsigned>(bytes); }

/// Either output may be null: OptiX asks so.
template <class Size, class Convert>
CUresult MemGetInfo(CUresult (*real)(Size*, Size*), Size* free, Size* total, Convert convert) {
  Size device_free = 0;
  Size device_total = 0;
  const CUresult result = real(&device_free, &device_total);
  if (result != CUDA_SUCCESS) return result;
  const ShareOfMemory share = ShareOf(CurrentDeviceIndex(), device_total, device_free);
  if (free != nullptr) *free = convert(share.free);
  if (total != nullptr) *total = convert(share.total);
  return result;
}

}  // namespace

PARTAGE_HOOK(CUresult, cuMemGetInfo_v2, (size_t * free, size_t* total)) {
  if (!Active()) return Real(free, total);
  return MemGetInfo(Real, free, total, [](std::uint64_t bytes) { return static_cast<size_t>(bytes); });
}

PARTAGE_HOOK(CUresult, cuMemGetInfo, (unsigned* free, unsigned* total)) {
  if (!Active()) return Real(free, total);
  return MemGetInfo(Real, free, total, Narrow);
}

PARTAGE_HOOK(CUresult, cuDeviceTotalMem_v2, (size_t * bytes, CUdevice device)) {
  const CUresult result = Real(bytes, device);
  if (!Active() || result != CUDA_SUCCESS || bytes == nullptr) return result;
  *bytes = ShareOf(DeviceIndexOf(device), *bytes, *bytes).total;
  return result;
}

PARTAGE_HOOK(CUresult, cuDeviceTotalMem, (unsigned* bytes, CUdevice device)) {
  const CUresult result = Real(bytes, device);
  if (!Active() || result != CUDA_SUCCESS || bytes == nullptr) return result;
  *bytes = Narrow(ShareOf(DeviceIndexOf(device), *bytes, *bytes).total);
  return result;
}

}  // namespace partage::intercept
