// SPDX-License-Identifier: Apache-2.0
// Virtual memory management: physical memory by handle, address ranges, and mappings between them. Physical memory lives as long as a handle
// or a mapping refers to it. Handles passed to another process stay this process's memory.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "test/support/libcuda/cuda/driver.h"

namespace partage::fake_gpu {
namespace {

/// What a file descriptor that stands for a handle holds.
struct Shared {
  uint64_t magic;
  int64_t pid;
  CUmemGenericAllocationHandle handle;
  uint64_t size;
  CUmemAllocationProp properties;
};
constexpr uint64_t kSharedMagic = 0x66616b65'6d656d31;

/// The physical memory goes when nothing refers to it any more.
void Settle(Driver& driver, const std::shared_ptr<Physical>& physical) {
  if (physical->handles > 0 || physical->mappings > 0) return;
  if (physical->gpu >= 0) Gpus::Get().Release(physical->gpu, physical->size);
  std::erase_if(driver.physical, [&](const auto& entry) { return entry.second == physical; });
}

CUmemGenericAllocationHandle AddPhysical(Driver& driver, const Physical& physical) {
  const CUmemGenericAllocationHandle handle = 0x10000 + driver.next_id++;
  driver.physical[handle] = std::make_shared<Physical>(physical);
  return handle;
}

/// Runs `body(Driver&, physical)` when the handle is a live one.
template <class Body>
CUresult OnHandle(CUmemGenericAllocationHandle handle, Body body) {
  return InDriver([&](Driver& driver) {
    const auto found = driver.physical.find(handle);
    if (found == driver.physical.end() || found->second->handles == 0) return CUDA_ERROR_INVALID_VALUE;
    const auto physical = found->second;
    return body(driver, physical);
  });
}

CUresult Import(Driver& driver, int descriptor, CUmemGenericAllocationHandle* out) {
  Shared shared{};
  if (pread(descriptor, &shared, sizeof(shared), 0) != sizeof(shared) || shared.magic != kSharedMagic) return CUDA_ERROR_INVALID_VALUE;
  if (shared.pid == getpid()) {
    const auto own = driver.physical.find(shared.handle);
    if (own == driver.physical.end()) return CUDA_ERROR_INVALID_VALUE;
    ++own->second->handles;
    return *out = shared.handle, CUDA_SUCCESS;
  }
  *out = AddPhysical(driver, {.properties = shared.properties, .size = shared.size, .gpu = -1, .handles = 1});
  return CUDA_SUCCESS;
}

}  // namespace

FAKE_CUDA(cuMemGetAllocationGranularity)(size_t* out, const CUmemAllocationProp* properties, CUmemAllocationGranularity_flags) {
  if (out == nullptr || properties == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = Profile::Get().vmm_granularity;
  return CUDA_SUCCESS;
}

FAKE_CUDA(cuMemCreate)(CUmemGenericAllocationHandle* out, size_t size, const CUmemAllocationProp* properties, unsigned long long) {
  return InDriver([&](Driver& driver) {
    if (out == nullptr || properties == nullptr || size == 0 || size % Profile::Get().vmm_granularity != 0) return CUDA_ERROR_INVALID_VALUE;
    const bool on_device = properties->location.type == CU_MEM_LOCATION_TYPE_DEVICE;
    if (on_device && !ValidDevice(properties->location.id)) return CUDA_ERROR_INVALID_DEVICE;
    const int gpu = on_device ? GpuOf(properties->location.id) : -1;
    if (on_device && !Gpus::Get().Reserve(gpu, size)) return CUDA_ERROR_OUT_OF_MEMORY;
    *out = AddPhysical(driver, {.properties = *properties, .size = size, .gpu = gpu, .handles = 1});
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemRelease)(CUmemGenericAllocationHandle handle) {
  return OnHandle(handle, [&](Driver& driver, const std::shared_ptr<Physical>& physical) {
    --physical->handles;
    Settle(driver, physical);
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemAddressReserve)(CUdeviceptr* out, size_t size, size_t alignment, CUdeviceptr, unsigned long long) {
  return InDriver([&](Driver& driver) {
    const uint64_t unit = std::max<uint64_t>(alignment, Profile::Get().vmm_granularity);
    if (out == nullptr || size == 0 || size % Profile::Get().vmm_granularity != 0 || (unit & (unit - 1)) != 0)
      return CUDA_ERROR_INVALID_VALUE;
    *out = driver.arena.Take(size, Profile::Get().vmm_granularity);
    if (*out == 0) return CUDA_ERROR_OUT_OF_MEMORY;
    driver.reservations[*out] = size;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemAddressFree)(CUdeviceptr address, size_t size) {
  return InDriver([&](Driver& driver) {
    const auto found = driver.reservations.find(address);
    if (found == driver.reservations.end() || found->second != size) return CUDA_ERROR_INVALID_VALUE;
    driver.arena.Give(address, size, Profile::Get().vmm_granularity);
    driver.reservations.erase(found);
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemMap)(CUdeviceptr address, size_t size, size_t offset, CUmemGenericAllocationHandle handle, unsigned long long) {
  return OnHandle(handle, [&](Driver& driver, const std::shared_ptr<Physical>& physical) {
    const auto after = driver.reservations.upper_bound(address);
    if (size == 0 || offset != 0 || size > physical->size || after == driver.reservations.begin()) return CUDA_ERROR_INVALID_VALUE;
    const auto& [begin, length] = *std::prev(after);
    if (address + size > begin + length) return CUDA_ERROR_INVALID_VALUE;
    const auto next = driver.mappings.lower_bound(address);
    const bool meets_next = next != driver.mappings.end() && next->first < address + size;
    const bool meets_last = next != driver.mappings.begin() && std::prev(next)->first + std::prev(next)->second.first > address;
    if (meets_next || meets_last) return CUDA_ERROR_INVALID_VALUE;
    driver.mappings[address] = {size, physical};
    ++physical->mappings;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemUnmap)(CUdeviceptr address, size_t size) {
  return InDriver([&](Driver& driver) {
    // Several neighbouring mappings may go in one call, but only whole ones.
    const auto begin = driver.mappings.find(address);
    uint64_t covered = 0;
    auto end = begin;
    for (; end != driver.mappings.end() && covered < size && end->first == address + covered; ++end) covered += end->second.first;
    if (begin == driver.mappings.end() || covered != size) return CUDA_ERROR_INVALID_VALUE;
    for (auto mapping = begin; mapping != end; ++mapping) {
      --mapping->second.second->mappings;
      Settle(driver, mapping->second.second);
    }
    driver.mappings.erase(begin, end);
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemSetAccess)(CUdeviceptr address, size_t, const CUmemAccessDesc* access, size_t count) {
  return InDriver([&](Driver& driver) {
    return access == nullptr || count == 0 || !driver.mappings.contains(address) ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemGetAccess)(unsigned long long* flags, const CUmemLocation*, CUdeviceptr address) {
  return InDriver([&](Driver& driver) {
    if (flags == nullptr || !driver.mappings.contains(address)) return CUDA_ERROR_INVALID_VALUE;
    *flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemRetainAllocationHandle)(CUmemGenericAllocationHandle* out, void* pointer) {
  return InDriver([&](Driver& driver) {
    const auto address = reinterpret_cast<CUdeviceptr>(pointer);
    const auto after = driver.mappings.upper_bound(address);
    if (out == nullptr || after == driver.mappings.begin()) return CUDA_ERROR_INVALID_VALUE;
    const auto& [begin, mapping] = *std::prev(after);
    if (address >= begin + mapping.first) return CUDA_ERROR_INVALID_VALUE;
    for (auto& [handle, physical] : driver.physical) {
      if (physical == mapping.second) *out = handle;
    }
    ++mapping.second->handles;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemGetAllocationPropertiesFromHandle)(CUmemAllocationProp* out, CUmemGenericAllocationHandle handle) {
  return OnHandle(handle, [&](Driver&, const std::shared_ptr<Physical>& physical) {
    return out == nullptr ? CUDA_ERROR_INVALID_VALUE : (*out = physical->properties, CUDA_SUCCESS);
  });
}

FAKE_CUDA(cuMemExportToShareableHandle)
(void* out, CUmemGenericAllocationHandle handle, CUmemAllocationHandleType type, unsigned long long) {
  return OnHandle(handle, [&](Driver&, const std::shared_ptr<Physical>& physical) {
    if (out == nullptr || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) return CUDA_ERROR_INVALID_VALUE;
    const int descriptor = memfd_create("fake cuda memory", MFD_CLOEXEC);
    const Shared shared{kSharedMagic, getpid(), handle, physical->size, physical->properties};
    if (descriptor < 0 || write(descriptor, &shared, sizeof(shared)) != sizeof(shared)) return CUDA_ERROR_OPERATING_SYSTEM;
    *static_cast<int*>(out) = descriptor;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemImportFromShareableHandle)(CUmemGenericAllocationHandle* out, void* descriptor, CUmemAllocationHandleType type) {
  return InDriver([&](Driver& driver) {
    if (out == nullptr || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) return CUDA_ERROR_INVALID_VALUE;
    return Import(driver, static_cast<int>(reinterpret_cast<intptr_t>(descriptor)), out);
  });
}

}  // namespace partage::fake_gpu
