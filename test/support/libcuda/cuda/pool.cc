// SPDX-License-Identifier: Apache-2.0
// Stream-ordered memory. A pool grows by the profile's chunk, keeps what is freed into it, and gives back what is above its threshold when
// something synchronises, when it is trimmed, or when it goes.
#include <algorithm>

#include "test/support/libcuda/cuda/driver.h"

namespace partage::fake_gpu {
namespace {

void Shrink(Pool& pool, uint64_t keep) {
  const uint64_t target = std::max(RoundUp(pool.used, Profile::Get().pool_chunk), RoundUp(keep, Profile::Get().pool_chunk));
  if (pool.reserved <= target) return;
  if (pool.gpu >= 0) Gpus::Get().Release(pool.gpu, pool.reserved - target);
  pool.reserved = target;
}

bool Grow(Pool& pool, uint64_t bytes) {
  const uint64_t needed = pool.used + bytes;
  if (needed > pool.reserved) {
    const uint64_t more = RoundUp(needed - pool.reserved, Profile::Get().pool_chunk);
    if (pool.gpu >= 0 && !Gpus::Get().Reserve(pool.gpu, more)) return false;
    pool.reserved += more;
    pool.reserved_high = std::max(pool.reserved_high, pool.reserved);
  }
  pool.used = needed;
  pool.used_high = std::max(pool.used_high, pool.used);
  return true;
}

CUresult AllocateFrom(Driver& driver, Context& context, Pool& pool, CUdeviceptr* out, size_t bytes) {
  const uint64_t size = RoundUp(bytes, Profile::Get().memory_granularity);
  if (!Grow(pool, size)) return CUDA_ERROR_OUT_OF_MEMORY;
  const CUdevice device = pool.gpu >= 0 ? pool.device : context.device;
  *out = AddAllocation(driver,
                       {.kind = MemoryKind::kPool, .size = size, .gpu = pool.gpu, .device = device, .context = nullptr, .pool = &pool});
  return *out == 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult CaptureAlloc(Driver& driver, Stream& stream, size_t bytes, CUdeviceptr* out) {
  *out = driver.arena.Take(bytes);
  if (*out == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  CaptureNode(driver, stream,
              {.type = CU_GRAPH_NODE_TYPE_MEM_ALLOC,
               .address = *out,
               .bytes = bytes,
               .location = {CU_MEM_LOCATION_TYPE_DEVICE, stream.context->device}});
  return CUDA_SUCCESS;
}

CUresult AllocateAsync(CUdeviceptr* out, size_t bytes, CUmemoryPool handle, CUstream stream_handle) {
  return InContext([&](Driver& driver, Context& context) {
    Stream* stream = FindStream(driver, context, stream_handle);
    if (out == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
    if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capture != nullptr) return CaptureAlloc(driver, *stream, bytes, out);
    Pool* pool = driver.pools.Find(handle != nullptr ? handle : driver.current_pools[static_cast<size_t>(context.device)]);
    return pool == nullptr ? CUDA_ERROR_INVALID_VALUE : AllocateFrom(driver, context, *pool, out, bytes);
  });
}

/// Runs `body(Driver&, Pool&)` when the handle is a pool's.
template <class Body>
CUresult OnPool(CUmemoryPool handle, Body body) {
  return InDriver([&](Driver& driver) {
    Pool* pool = driver.pools.Find(handle);
    return pool == nullptr ? CUDA_ERROR_INVALID_VALUE : body(driver, *pool);
  });
}

uint64_t* Counter(Pool& pool, CUmemPool_attribute attribute) {
  switch (attribute) {
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: return &pool.threshold;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT: return &pool.reserved;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH: return &pool.reserved_high;
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT: return &pool.used;
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH: return &pool.used_high;
    default: return nullptr;
  }
}

CUresult DevicePool(CUmemoryPool* out, CUdevice device, std::vector<CUmemoryPool> Driver::*pools) {
  return InDriver([&](Driver& driver) {
    if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (!ValidDevice(device)) return CUDA_ERROR_INVALID_DEVICE;
    *out = (driver.*pools)[static_cast<size_t>(device)];
    return CUDA_SUCCESS;
  });
}

}  // namespace

void TrimPools(Driver& driver, CUdevice device) {
  if (FastMode()) return;
  for (auto& [handle, pool] : driver.pools) {
    if (pool->device == device) Shrink(*pool, pool->threshold);
  }
}

FAKE_CUDA(cuMemAllocAsync)(CUdeviceptr* out, size_t bytes, CUstream stream) { return AllocateAsync(out, bytes, nullptr, stream); }
FAKE_CUDA_SAME(cuMemAllocAsync_ptsz, cuMemAllocAsync);

FAKE_CUDA(cuMemAllocFromPoolAsync)(CUdeviceptr* out, size_t bytes, CUmemoryPool pool, CUstream stream) {
  return pool == nullptr ? CUDA_ERROR_INVALID_VALUE : AllocateAsync(out, bytes, pool, stream);
}
FAKE_CUDA_SAME(cuMemAllocFromPoolAsync_ptsz, cuMemAllocFromPoolAsync);

FAKE_CUDA(cuMemFreeAsync)(CUdeviceptr address, CUstream stream_handle) {
  return InContext([&](Driver& driver, Context& context) {
    Stream* stream = FindStream(driver, context, stream_handle);
    if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (CaptureNode(driver, *stream, {.type = CU_GRAPH_NODE_TYPE_MEM_FREE, .address = address})) return CUDA_SUCCESS;
    return FreeAllocation(driver, address) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  });
}
FAKE_CUDA_SAME(cuMemFreeAsync_ptsz, cuMemFreeAsync);

FAKE_CUDA(cuDeviceGetDefaultMemPool)(CUmemoryPool* out, CUdevice device) { return DevicePool(out, device, &Driver::default_pools); }
FAKE_CUDA(cuDeviceGetMemPool)(CUmemoryPool* out, CUdevice device) { return DevicePool(out, device, &Driver::current_pools); }

FAKE_CUDA(cuDeviceSetMemPool)(CUdevice device, CUmemoryPool handle) {
  return OnPool(handle, [&](Driver& driver, Pool&) {
    if (!ValidDevice(device)) return CUDA_ERROR_INVALID_DEVICE;
    driver.current_pools[static_cast<size_t>(device)] = handle;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemPoolCreate)(CUmemoryPool* out, const CUmemPoolProps* properties) {
  return InDriver([&](Driver& driver) {
    if (out == nullptr || properties == nullptr) return CUDA_ERROR_INVALID_VALUE;
    const bool on_device = properties->location.type == CU_MEM_LOCATION_TYPE_DEVICE;
    if (on_device && !ValidDevice(properties->location.id)) return CUDA_ERROR_INVALID_VALUE;
    *out = driver.pools.Add({.device = on_device ? properties->location.id : -1, .gpu = on_device ? GpuOf(properties->location.id) : -1});
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemPoolDestroy)(CUmemoryPool handle) {
  return OnPool(handle, [&](Driver& driver, Pool& pool) {
    if (std::count(driver.default_pools.begin(), driver.default_pools.end(), handle) > 0) return CUDA_ERROR_INVALID_VALUE;
    std::erase_if(driver.memory, [&](const auto& entry) { return entry.second.pool == &pool; });
    std::replace(driver.current_pools.begin(), driver.current_pools.end(), handle, CUmemoryPool{});
    for (size_t i = 0; i < driver.current_pools.size(); ++i) {
      if (driver.current_pools[i] == nullptr) driver.current_pools[i] = driver.default_pools[i];
    }
    if (pool.gpu >= 0) Gpus::Get().Release(pool.gpu, pool.reserved);
    driver.pools.Remove(handle);
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemPoolTrimTo)(CUmemoryPool handle, size_t keep) {
  return OnPool(handle, [&](Driver&, Pool& pool) { return Shrink(pool, keep), CUDA_SUCCESS; });
}

FAKE_CUDA(cuMemPoolGetAttribute)(CUmemoryPool handle, CUmemPool_attribute attribute, void* value) {
  return OnPool(handle, [&](Driver&, Pool& pool) {
    if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (const uint64_t* counter = Counter(pool, attribute)) {
      *static_cast<cuuint64_t*>(value) = *counter;
    } else {
      *static_cast<int*>(value) = 1;  // the three ways of reuse
    }
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemPoolSetAttribute)(CUmemoryPool handle, CUmemPool_attribute attribute, void* value) {
  return OnPool(handle, [&](Driver&, Pool& pool) {
    if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (attribute == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) pool.threshold = *static_cast<cuuint64_t*>(value);
    if (attribute == CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH) pool.reserved_high = pool.reserved;
    if (attribute == CU_MEMPOOL_ATTR_USED_MEM_HIGH) pool.used_high = pool.used;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuMemPoolSetAccess)(CUmemoryPool handle, const CUmemAccessDesc*, size_t) {
  return OnPool(handle, [](Driver&, Pool&) { return CUDA_SUCCESS; });
}

FAKE_CUDA(cuMemPoolGetAccess)(CUmemAccess_flags* flags, CUmemoryPool handle, CUmemLocation*) {
  return OnPool(handle, [&](Driver&, Pool&) {
    return flags == nullptr ? CUDA_ERROR_INVALID_VALUE : (*flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE, CUDA_SUCCESS);
  });
}

}  // namespace partage::fake_gpu
