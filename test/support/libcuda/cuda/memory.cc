// SPDX-License-Identifier: Apache-2.0
// Linear, managed and host memory, and what is known of a pointer.
#include <cstdlib>

#include "test/support/libcuda/cuda/driver.h"

namespace partage::fake_gpu {
namespace {

constexpr size_t kPitchAlignment = 512;

CUresult AllocateLinear(CUdeviceptr* out, size_t bytes, MemoryKind kind, bool low = false) {
  return InContext([&](Driver& driver, Context& context) {
    if (out == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
    // Managed memory may exceed the device: what does not fit lives on the host.
    uint64_t taken = RoundUp(bytes, Profile::Get().memory_granularity);
    if (!Gpus::Get().Reserve(context.gpu, taken)) {
      if (kind != MemoryKind::kManaged) return CUDA_ERROR_OUT_OF_MEMORY;
      taken = 0;
    }
    *out = AddAllocation(
        driver,
        {.kind = kind, .size = bytes, .taken = taken, .gpu = context.gpu, .device = context.device, .context = &context, .low = low});
    if (*out != 0) return CUDA_SUCCESS;
    Gpus::Get().Release(context.gpu, taken);
    return CUDA_ERROR_OUT_OF_MEMORY;
  });
}

CUresult AllocatePitched(CUdeviceptr* out, size_t* pitch, size_t width, size_t height, unsigned element, bool low) {
  if (pitch == nullptr || width == 0 || height == 0 || (element != 4 && element != 8 && element != 16)) return CUDA_ERROR_INVALID_VALUE;
  const size_t row = RoundUp(width, kPitchAlignment);
  const CUresult result = AllocateLinear(out, row * height, MemoryKind::kLinear, low);
  if (result == CUDA_SUCCESS) *pitch = row;
  return result;
}

CUresult AllocateFast(CUdeviceptr* out, size_t bytes) {
  *out = Arena::Bump(bytes);
  return CUDA_SUCCESS;
}

CUresult AllocateHost(void** out, size_t bytes) {
  return InContext([&](Driver& driver, Context&) {
    if (out == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
    *out = std::aligned_alloc(4096, RoundUp(bytes, 4096));
    if (*out == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
    driver.host_memory[*out] = bytes;
    return CUDA_SUCCESS;
  });
}

/// Fills in one attribute; false when the driver does not know the attribute or the pointer.
bool PointerAttribute(Driver& driver, CUdeviceptr pointer, CUpointer_attribute attribute, void* data) {
  const auto* found = FindAllocation(driver, pointer);
  const bool host = found == nullptr && driver.host_memory.contains(reinterpret_cast<void*>(pointer));
  if (found == nullptr && !host) return false;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
      *static_cast<CUcontext*>(data) = host ? nullptr : reinterpret_cast<CUcontext>(found->second.context);
      return true;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE: *static_cast<unsigned*>(data) = host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE; return true;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: *static_cast<CUdeviceptr*>(data) = pointer; return true;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER: *static_cast<void**>(data) = host ? reinterpret_cast<void*>(pointer) : nullptr; return host;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED: *static_cast<unsigned*>(data) = !host && found->second.kind == MemoryKind::kManaged; return true;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: *static_cast<int*>(data) = host ? 0 : found->second.device; return true;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: *static_cast<CUdeviceptr*>(data) = host ? pointer : found->first; return true;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
      *static_cast<size_t*>(data) = host ? driver.host_memory[reinterpret_cast<void*>(pointer)] : found->second.size;
      return true;
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE: *static_cast<void**>(data) = host ? nullptr : found->second.pool; return true;
  }
  return false;
}

}  // namespace

CUdeviceptr AddAllocation(Driver& driver, const Allocation& allocation) {
  const CUdeviceptr address = (allocation.low ? driver.low_arena : driver.arena).Take(allocation.size);
  if (address != 0) driver.memory[address] = allocation;
  return address;
}

bool FreeAllocation(Driver& driver, CUdeviceptr address) {
  const auto found = driver.memory.find(address);
  if (found == driver.memory.end()) return false;
  const Allocation& allocation = found->second;
  if (allocation.taken > 0) Gpus::Get().Release(allocation.gpu, allocation.taken);
  if (allocation.pool != nullptr) allocation.pool->used -= allocation.size;
  if (allocation.kind == MemoryKind::kGraph) {
    driver.graph_memory[static_cast<size_t>(allocation.device)].used -= allocation.size;  // its address stays its node's
  } else {
    (allocation.low ? driver.low_arena : driver.arena).Give(address, allocation.size);
  }
  driver.memory.erase(found);
  return true;
}

const std::pair<const CUdeviceptr, Allocation>* FindAllocation(Driver& driver, CUdeviceptr address) {
  auto after = driver.memory.upper_bound(address);
  if (after == driver.memory.begin()) return nullptr;
  --after;
  return address < after->first + after->second.size ? &*after : nullptr;
}

FAKE_CUDA(cuMemAlloc_v2)(CUdeviceptr* out, size_t bytes) {
  return FastMode() ? AllocateFast(out, bytes) : AllocateLinear(out, bytes, MemoryKind::kLinear);
}

FAKE_CUDA(cuMemAllocManaged)(CUdeviceptr* out, size_t bytes, unsigned flags) {
  if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST) return CUDA_ERROR_INVALID_VALUE;
  return AllocateLinear(out, bytes, MemoryKind::kManaged);
}

FAKE_CUDA(cuMemAllocPitch_v2)(CUdeviceptr* out, size_t* pitch, size_t width, size_t height, unsigned element) {
  return AllocatePitched(out, pitch, width, height, element, false);
}

FAKE_CUDA(cuMemFree_v2)(CUdeviceptr address) {
  if (FastMode()) return CUDA_SUCCESS;
  int64_t mark = 0;
  int gpu = 0;
  const CUresult result = InContext([&](Driver& driver, Context& context) {
    gpu = context.gpu;
    if (address == 0) return CUDA_SUCCESS;
    const auto found = driver.memory.find(address);
    if (found == driver.memory.end() || found->second.kind == MemoryKind::kImported) return CUDA_ERROR_INVALID_VALUE;
    mark = Gpus::Get().LastMark(context.gpu);
    return CUDA_SUCCESS;
  });
  if (result != CUDA_SUCCESS || address == 0) return result;
  Gpus::Get().Wait(gpu, mark);  // work that uses it must end first
  return InContext([&](Driver& driver, Context&) { return FreeAllocation(driver, address) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE; });
}

// CUDA 2's: addresses and sizes of 32 bits.
FAKE_CUDA(cuMemAlloc)(CUdeviceptr_v1* out, unsigned bytes) {
  CUdeviceptr address = 0;
  const CUresult result = AllocateLinear(out == nullptr ? nullptr : &address, bytes, MemoryKind::kLinear, true);
  if (result == CUDA_SUCCESS) *out = static_cast<CUdeviceptr_v1>(address);
  return result;
}

FAKE_CUDA(cuMemAllocPitch)(CUdeviceptr_v1* out, unsigned* pitch, unsigned width, unsigned height, unsigned element) {
  CUdeviceptr address = 0;
  size_t row = 0;
  const CUresult result =
      AllocatePitched(out == nullptr ? nullptr : &address, pitch == nullptr ? nullptr : &row, width, height, element, true);
  if (result != CUDA_SUCCESS) return result;
  *out = static_cast<CUdeviceptr_v1>(address);
  *pitch = static_cast<unsigned>(row);
  return CUDA_SUCCESS;
}

FAKE_CUDA(cuMemFree)(CUdeviceptr_v1 address) { return fake_cuMemFree_v2(address); }

FAKE_CUDA(cuMemGetAddressRange_v2)(CUdeviceptr* base, size_t* size, CUdeviceptr address) {
  return InContext([&](Driver& driver, Context&) {
    const auto* found = FindAllocation(driver, address);
    if (found == nullptr) return CUDA_ERROR_NOT_FOUND;
    if (base != nullptr) *base = found->first;
    if (size != nullptr) *size = found->second.size;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemAllocHost_v2)(void** out, size_t bytes) { return AllocateHost(out, bytes); }
FAKE_CUDA(cuMemHostAlloc)(void** out, size_t bytes, unsigned) { return AllocateHost(out, bytes); }

FAKE_CUDA(cuMemFreeHost)(void* pointer) {
  return InContext([&](Driver& driver, Context&) {
    if (driver.host_memory.erase(pointer) == 0) return CUDA_ERROR_INVALID_VALUE;
    std::free(pointer);
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemHostGetDevicePointer_v2)(CUdeviceptr* out, void* pointer, unsigned) {
  return InContext([&](Driver& driver, Context&) {
    if (out == nullptr || !driver.host_memory.contains(pointer)) return CUDA_ERROR_INVALID_VALUE;
    *out = reinterpret_cast<CUdeviceptr>(pointer);
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemHostRegister_v2)(void* pointer, size_t bytes, unsigned) {
  return InContext([&](Driver&, Context&) { return pointer == nullptr || bytes == 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS; });
}
FAKE_CUDA_SAME(cuMemHostRegister, cuMemHostRegister_v2);

FAKE_CUDA(cuMemHostUnregister)(void* pointer) {
  return InContext([&](Driver&, Context&) { return pointer == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS; });
}

FAKE_CUDA(cuMemAdvise)(CUdeviceptr, size_t, CUmem_advise, CUdevice) {
  return InContext([](Driver&, Context&) { return CUDA_SUCCESS; });
}
FAKE_CUDA(cuMemAdvise_v2)(CUdeviceptr, size_t, CUmem_advise, CUmemLocation) {
  return InContext([](Driver&, Context&) { return CUDA_SUCCESS; });
}

FAKE_CUDA(cuPointerGetAttribute)(void* data, CUpointer_attribute attribute, CUdeviceptr pointer) {
  return InDriver([&](Driver& driver) {
    if (data == nullptr) return CUDA_ERROR_INVALID_VALUE;
    return PointerAttribute(driver, pointer, attribute, data) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  });
}

FAKE_CUDA(cuPointerGetAttributes)(unsigned count, CUpointer_attribute* attributes, void** data, CUdeviceptr pointer) {
  return InDriver([&](Driver& driver) {
    for (unsigned i = 0; i < count; ++i) PointerAttribute(driver, pointer, attributes[i], data[i]);
    return CUDA_SUCCESS;
  });
}

}  // namespace partage::fake_gpu
