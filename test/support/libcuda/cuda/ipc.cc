// SPDX-License-Identifier: Apache-2.0
// Memory of other processes and of other interfaces, seen through addresses of this one. It is its owner's, so nothing is taken for it; the
// contents are not shared. Also the end of a context, when everything made in it goes.
#include <unistd.h>

#include <cstring>

#include "test/support/libcuda/cuda/driver.h"

namespace partage::fake_gpu {
namespace {

/// What a memory handle's 64 bytes hold.
struct Exported {
  uint64_t magic;
  int64_t pid;
  CUdeviceptr address;
  uint64_t size;
};
constexpr uint64_t kMagic = 0x66616b65'69706301;

struct ExternalMemory {
  uint64_t size;
};

CUresult OpenMemory(CUdeviceptr* out, const CUipcMemHandle& handle) {
  return InContext([&](Driver& driver, Context& context) {
    Exported exported{};
    std::memcpy(&exported, &handle, sizeof(exported));
    if (out == nullptr || exported.magic != kMagic) return CUDA_ERROR_INVALID_VALUE;
    if (exported.pid == getpid()) return CUDA_ERROR_INVALID_CONTEXT;  // not for the process that exported it
    *out = AddAllocation(
        driver, {.kind = MemoryKind::kImported, .size = exported.size, .gpu = context.gpu, .device = context.device, .context = &context});
    return *out == 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
  });
}

}  // namespace

void DropContextObjects(Driver& driver, Context& context) {
  std::vector<CUdeviceptr> addresses;
  for (const auto& [address, allocation] : driver.memory) {
    if (allocation.context == &context) addresses.push_back(address);
  }
  for (const CUdeviceptr address : addresses) FreeAllocation(driver, address);
  std::vector<CUarray> arrays;
  for (const auto& [handle, array] : driver.arrays) {
    if (array->context == &context) arrays.push_back(handle);
  }
  for (const CUarray handle : arrays) {
    Gpus::Get().Release(context.gpu, driver.arrays.Find(handle)->bytes);
    driver.arrays.Remove(handle);
  }
  std::vector<CUmodule> modules;
  for (const auto& [handle, module] : driver.modules) {
    if (module->context == &context) modules.push_back(handle);
  }
  for (const CUmodule handle : modules) {
    if (!FastMode()) Gpus::Get().Release(context.gpu, driver.modules.Find(handle)->bytes);
    driver.modules.Remove(handle);
  }
}

FAKE_CUDA(cuIpcGetMemHandle)(CUipcMemHandle* out, CUdeviceptr address) {
  return InContext([&](Driver& driver, Context&) {
    const auto* found = FindAllocation(driver, address);
    if (out == nullptr || found == nullptr || found->second.kind != MemoryKind::kLinear) return CUDA_ERROR_INVALID_VALUE;
    const Exported exported{kMagic, getpid(), found->first, found->second.size};
    *out = {};
    std::memcpy(out, &exported, sizeof(exported));
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuIpcOpenMemHandle_v2)(CUdeviceptr* out, CUipcMemHandle handle, unsigned) { return OpenMemory(out, handle); }
FAKE_CUDA_SAME(cuIpcOpenMemHandle, cuIpcOpenMemHandle_v2);

FAKE_CUDA(cuIpcCloseMemHandle)(CUdeviceptr address) {
  return InContext([&](Driver& driver, Context&) {
    const auto found = driver.memory.find(address);
    if (found == driver.memory.end() || found->second.kind != MemoryKind::kImported) return CUDA_ERROR_INVALID_VALUE;
    return FreeAllocation(driver, address) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  });
}

FAKE_CUDA(cuImportExternalMemory)(CUexternalMemory* out, const CUDA_EXTERNAL_MEMORY_HANDLE_DESC* description) {
  return InContext([&](Driver&, Context&) {
    if (out == nullptr || description == nullptr || description->size == 0) return CUDA_ERROR_INVALID_VALUE;
    *out = reinterpret_cast<CUexternalMemory>(new ExternalMemory{description->size});
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuExternalMemoryGetMappedBuffer)(CUdeviceptr* out, CUexternalMemory memory, const CUDA_EXTERNAL_MEMORY_BUFFER_DESC* buffer) {
  return InContext([&](Driver& driver, Context& context) {
    if (out == nullptr || memory == nullptr || buffer == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (buffer->offset + buffer->size > reinterpret_cast<ExternalMemory*>(memory)->size) return CUDA_ERROR_INVALID_VALUE;
    // The mapping is given back with cuMemFree, so it is linear memory for which nothing was taken.
    *out = AddAllocation(driver, {.size = buffer->size, .gpu = context.gpu, .device = context.device, .context = &context});
    return *out == 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuDestroyExternalMemory)(CUexternalMemory memory) {
  return InContext([&](Driver&, Context&) { return delete reinterpret_cast<ExternalMemory*>(memory), CUDA_SUCCESS; });
}

}  // namespace partage::fake_gpu
