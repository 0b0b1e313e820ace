// SPDX-License-Identifier: Apache-2.0
// Virtual memory management: physical memory is charged when it is created, and given back when neither a handle nor a mapping refers to it.
// Address space costs nothing, imported memory is its exporter's, and memory located on the host is nobody's.
#include "intercept/hook.h"
#include "intercept/memory/ledger.h"

namespace partage::intercept {
namespace {

using namespace memory;

void Refunded(const Due& due) {
  if (due.bytes > 0) Refund(static_cast<int>(due.device), MemoryClass::kVmm, due.bytes);
}

/// The device that pays for memory with these properties; -1: none of ours.
int DeviceOf(const CUmemAllocationProp& prop) {
  return prop.location.type == CU_MEM_LOCATION_TYPE_DEVICE ? On(prop.location.id).device : -1;
}

}  // namespace

PARTAGE_HOOK(CUresult, cuMemCreate,
             (CUmemGenericAllocationHandle * handle, size_t size, const CUmemAllocationProp* prop, unsigned long long flags)) {
  const Entered entered;
  const int device = entered && handle != nullptr && prop != nullptr ? DeviceOf(*prop) : -1;
  if (device < 0) return Real(handle, size, prop, flags);
  if (!Afford(device, MemoryClass::kVmm, size)) return CUDA_ERROR_OUT_OF_MEMORY;
  const CUresult result = Real(handle, size, prop, flags);
  if (result == CUDA_SUCCESS) {
    g_handles.Created(*handle, static_cast<unsigned>(device), size);
  } else {
    Refund(device, MemoryClass::kVmm, size);
  }
  return result;
}

PARTAGE_HOOK(CUresult, cuMemRelease, (CUmemGenericAllocationHandle handle)) {
  const Entered entered;
  if (!entered) return Real(handle);
  const auto release = g_handles.BeginRelease(handle);
  const CUresult result = Real(handle);
  Refunded(g_handles.EndRelease(release, result == CUDA_SUCCESS));
  return result;
}

PARTAGE_HOOK(CUresult, cuMemRetainAllocationHandle, (CUmemGenericAllocationHandle * handle, void* addr)) {
  const Entered entered;
  const CUresult result = Real(handle, addr);
  if (entered && result == CUDA_SUCCESS && handle != nullptr) g_handles.Retained(*handle, KeyOf(addr));
  return result;
}

PARTAGE_HOOK(CUresult, cuMemImportFromShareableHandle,
             (CUmemGenericAllocationHandle * handle, void* os_handle, CUmemAllocationHandleType sh_handle_type)) {
  const Entered entered;
  const CUresult result = Real(handle, os_handle, sh_handle_type);
  if (entered && result == CUDA_SUCCESS && handle != nullptr) g_handles.Imported(*handle);
  return result;
}

PARTAGE_HOOK(CUresult, cuMemMap,
             (CUdeviceptr ptr, size_t size, size_t offset, CUmemGenericAllocationHandle handle, unsigned long long flags)) {
  const Entered entered;
  if (!entered) return Real(ptr, size, offset, handle, flags);
  const std::uint64_t allocation = g_handles.BeginMap(handle);
  const CUresult result = Real(ptr, size, offset, handle, flags);
  Refunded(g_handles.EndMap(allocation, ptr, size, result == CUDA_SUCCESS));
  return result;
}

PARTAGE_HOOK(CUresult, cuMemUnmap, (CUdeviceptr ptr, size_t size)) {
  const Entered entered;
  const CUresult result = Real(ptr, size);
  if (entered && result == CUDA_SUCCESS) g_handles.Unmapped(ptr, size, Refunded);
  return result;
}

}  // namespace partage::intercept
