// SPDX-License-Identifier: Apache-2.0
#include "test/intercept/memory/blocks.h"

#include "test/support/libcuda/control.h"

namespace partage::intercept {
namespace {

constexpr std::uint64_t kUnknown = ~std::uint64_t{0};

CUresult TakePhysical(std::uint64_t bytes, CUmemGenericAllocationHandle* handle) {
  const CUmemAllocationProp properties{.type = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
  return cuMemCreate(handle, bytes, &properties, 0);
}

CUresult TakeArray(std::uint64_t bytes, std::uint64_t* handle) {
  const CUDA_ARRAY_DESCRIPTOR descriptor{bytes, 0, CU_AD_FORMAT_UNSIGNED_INT8, 1};
  CUarray array = nullptr;
  const CUresult result = cuArrayCreate_v2(&array, &descriptor);
  *handle = reinterpret_cast<std::uintptr_t>(array);
  return result;
}

CUresult TakeFrom(Way way, std::uint64_t bytes, std::uint64_t* handle) {
  CUdeviceptr pointer = 0;
  std::size_t pitch = 0;
  CUresult result = CUDA_ERROR_UNKNOWN;
  switch (way) {
    case Way::kArray: return TakeArray(bytes, handle);
    case Way::kPhysical: {
      CUmemGenericAllocationHandle physical = 0;
      result = TakePhysical(bytes, &physical);
      *handle = physical;
      return result;
    }
    case Way::kLinear: result = cuMemAlloc_v2(&pointer, bytes); break;
    case Way::kPitched: result = cuMemAllocPitch_v2(&pointer, &pitch, 512, bytes / 512, 4); break;
    case Way::kManaged: result = cuMemAllocManaged(&pointer, bytes, CU_MEM_ATTACH_GLOBAL); break;
    case Way::kPooled: result = cuMemAllocAsync(&pointer, bytes, nullptr); break;
  }
  *handle = pointer;
  return result;
}

}  // namespace

CUresult Take(Way way, std::uint64_t bytes, Block* block) {
  *block = {.way = way, .bytes = bytes};
  return TakeFrom(way, bytes, &block->handle);
}

CUresult Free(const Block& block) {
  switch (block.way) {
    case Way::kArray: return cuArrayDestroy(reinterpret_cast<CUarray>(block.handle));
    case Way::kPhysical: return cuMemRelease(block.handle);
    case Way::kPooled: return cuMemFreeAsync(block.handle, nullptr);
    default: return cuMemFree_v2(block.handle);
  }
}

std::uint64_t TrulyUsed() {
  static const auto ask = reinterpret_cast<decltype(&cuMemGetInfo_v2)>(fakeCudaAddress("cuMemGetInfo_v2"));
  std::size_t free = 0, total = 0;
  return ask(&free, &total) == CUDA_SUCCESS ? total - free : kUnknown;
}

std::uint64_t UsedByNvml(unsigned index) {
  nvmlDevice_t device = nullptr;
  nvmlMemory_v2_t memory{.version = NvmlStructVersion(sizeof(memory), 2)};
  const bool told = nvmlInit_v2() == NVML_SUCCESS && nvmlDeviceGetHandleByIndex_v2(index, &device) == NVML_SUCCESS &&
                    nvmlDeviceGetMemoryInfo_v2(device, &memory) == NVML_SUCCESS;
  nvmlShutdown();
  return told ? memory.used : kUnknown;
}

std::uint64_t UsedByCuda() {
  std::size_t free = 0, total = 0;
  return cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS ? total - free : kUnknown;
}

}  // namespace partage::intercept
