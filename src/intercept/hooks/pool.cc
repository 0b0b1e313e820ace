// SPDX-License-Identifier: Apache-2.0
// Stream-ordered memory: a pool is charged for what it has reserved, free blocks included, as the driver reports it after each growth. Room for
// that growth is reserved before the driver is asked. Pools of host memory and imported pools are not known to the table and cost nothing here.
#include "intercept/hook.h"
#include "intercept/memory/ledger.h"
#include "intercept/memory/reserve.h"
#include "shm/clock.h"
#include "shm/process.h"

namespace partage::intercept {
namespace {

using namespace memory;

constexpr std::uint64_t kChunk = 32U << 20;  // drivers grow a pool by whole chunks, of this size at most so far
constexpr std::uint64_t kNoRoom = ~std::uint64_t{0};

/// The pool's index; one that is met for the first time is known if it is some device's default pool, which nobody made. 0: it is not on a device that is
/// limited, or not of this process, or there is no room for it in the table (then `device` is its own).
unsigned IndexOf(CUmemoryPool pool, int* device) {
  *device = -1;
  if (const unsigned known = g_pools.Find(KeyOf(pool)); known != 0) return known;
  int devices = 0;
  if (CallReal<Row::cuDeviceGetCount>(&devices) != CUDA_SUCCESS) return 0;
  for (int ordinal = 0; ordinal < devices; ++ordinal) {
    CUmemoryPool own = nullptr;
    if (CallReal<Row::cuDeviceGetDefaultMemPool>(&own, ordinal) != CUDA_SUCCESS || own != pool) continue;
    *device = On(ordinal).device;
    return *device < 0 ? 0 : g_pools.Open(KeyOf(pool), static_cast<unsigned>(*device));
  }
  return 0;
}

/// Whether the pool has that much free, and may so serve the bytes without growing.
bool HasFree(CUmemoryPool pool, std::uint64_t bytes) {
  cuuint64_t reserved = 0, used = 0;
  const CUresult both[] = {CallReal<Row::cuMemPoolGetAttribute>(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, static_cast<void*>(&reserved)),
                           CallReal<Row::cuMemPoolGetAttribute>(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, static_cast<void*>(&used))};
  return both[0] == CUDA_SUCCESS && both[1] == CUDA_SUCCESS && reserved >= used && reserved - used >= bytes;
}

/// Charges room for the growth that `bytes` may cause: whole chunks if the device has them, else just the bytes, else nothing when the pool has
/// them free. Returns the room; kNoRoom: none of these.
std::uint64_t Room(int device, CUmemoryPool pool, std::uint64_t bytes) {
  if (bytes > Holding::kMostBytes) return kNoRoom;
  const std::uint64_t chunks = (bytes + kChunk - 1) / kChunk * kChunk;
  if (Reserve(device, MemoryClass::kPool, chunks)) return chunks;
  if (Reserve(device, MemoryClass::kPool, bytes)) return bytes;
  if (HasFree(pool, bytes)) return 0;
  return Afford(device, MemoryClass::kPool, bytes) ? bytes : kNoRoom;
}

/// Room where there was none: others may hold it for whole chunks while they ask the driver, which takes microseconds as a rule. Waits some milliseconds.
std::uint64_t AwaitRoom(int device, std::uint64_t bytes) {
  const shm::KeepErrno keep;
  constexpr int kLooks = 20;
  constexpr std::uint64_t kPauseNs = 50'000;
  for (int looks = 0; looks < kLooks && bytes <= MemoryLimit(device); ++looks) {
    shm::SleepNs(kPauseNs);
    if (Reserve(device, MemoryClass::kPool, bytes)) return bytes;
  }
  return kNoRoom;
}

/// The pool has grown by `excess` bytes more than there was room for. True when the device has them after all; false: the caller must undo.
bool Outgrown(int device, std::uint64_t excess) {
  if (Afford(device, MemoryClass::kPool, excess)) return true;
  Charge(device, MemoryClass::kPool, excess);  // it is taken, for the moment
  return false;
}

/// Frees the block, waits until it has left its stream and lets the pool shrink.
void Undo(unsigned index, CUmemoryPool pool, CUdeviceptr* pointer, CUstream stream) {
  CallReal<Row::cuMemFreeAsync>(*pointer, stream);
  CallReal<Row::cuStreamSynchronize>(stream);
  CallReal<Row::cuMemPoolTrimTo>(pool, std::size_t{0});
  *pointer = 0;
  FollowPool(index);
}

/// A block from a pool we know. `allocate` calls the driver.
template <class Allocate>
CUresult FromPool(unsigned index, CUmemoryPool handle, CUdeviceptr* pointer, std::uint64_t bytes, CUstream stream, Allocate&& allocate) {
  Pool& pool = g_pools.At(index);
  const int device = static_cast<int>(pool.device);
  std::uint64_t room = Room(device, handle, bytes);
  if (room == kNoRoom) room = AwaitRoom(device, bytes);
  if (room == kNoRoom) return CUDA_ERROR_OUT_OF_MEMORY;
  {
    const Locked locked(pool.lock);
    pool.account.Hold(room);
  }
  const CUresult result = allocate();
  const std::uint64_t excess = SettlePool(index, room);
  if (excess > 0 && !Outgrown(device, excess) && result == CUDA_SUCCESS) {
    Undo(index, handle, pointer, stream);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  if (result == CUDA_SUCCESS) {
    g_pools.Used(index, bytes);
    Record(*pointer, Kind::kPool, {.device = device, .context = index}, bytes);
  }
  return result;
}

bool Capturing(CUstream stream) {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  return CallReal<Row::cuStreamIsCapturing>(stream, &status) == CUDA_SUCCESS && status == CU_STREAM_CAPTURE_STATUS_ACTIVE;
}

/// While a stream is captured nothing is allocated: the graph will own the memory.
template <class Allocate>
CUresult Captured(int device, CUdevice ordinal, std::uint64_t bytes, Allocate&& allocate) {
  NoteGraphMemory(device, ordinal);
  return GraphMemoryFits(device, bytes) ? allocate() : CUDA_ERROR_OUT_OF_MEMORY;
}

/// The device a stream belongs to: streams that are only names (default, legacy, per thread) mean the current one's.
bool DeviceOf(CUstream stream, CUdevice* device) {
  constexpr std::uint64_t kLastName = 2;
  if (KeyOf(stream) <= kLastName) return CallReal<Row::cuCtxGetDevice>(device) == CUDA_SUCCESS;
  if (DriverHas(Row::cuStreamGetDevice)) return CallReal<Row::cuStreamGetDevice>(stream, device) == CUDA_SUCCESS;
  CUcontext context = nullptr;
  if (CallReal<Row::cuStreamGetCtx>(stream, &context) != CUDA_SUCCESS || CallReal<Row::cuCtxPushCurrent_v2>(context) != CUDA_SUCCESS)
    return false;
  const bool known = CallReal<Row::cuCtxGetDevice>(device) == CUDA_SUCCESS;
  CallReal<Row::cuCtxPopCurrent_v2>(&context);
  return known;
}

/// What stream 0 means to the per-thread entry points, under the name it has everywhere.
CUstream PerThread(CUstream stream) { return stream == nullptr ? reinterpret_cast<CUstream>(std::uintptr_t{2}) : stream; }

template <class Forward>
CUresult FromDevice(Forward&& forward, CUdeviceptr* pointer, std::size_t bytes, CUstream stream) {
  const Entered entered;
  CUdevice ordinal = 0;
  if (!entered || pointer == nullptr || bytes == 0 || !DeviceOf(stream, &ordinal)) return forward();
  const int device = On(ordinal).device;
  if (device < 0) return forward();
  if (Capturing(stream)) return Captured(device, ordinal, bytes, forward);
  CUmemoryPool pool = nullptr;
  if (CallReal<Row::cuDeviceGetMemPool>(&pool, ordinal) != CUDA_SUCCESS) return forward();
  const unsigned index = g_pools.Open(KeyOf(pool), static_cast<unsigned>(device));
  if (index == 0) return Allocated({.device = device}, Kind::kPool, bytes, forward, [&] { return *pointer; });
  return FromPool(index, pool, pointer, bytes, stream, forward);
}

template <class Forward>
CUresult FromNamed(Forward&& forward, CUdeviceptr* pointer, std::size_t bytes, CUmemoryPool pool, CUstream stream) {
  const Entered entered;
  int device = -1;
  const unsigned index = entered && pointer != nullptr && bytes > 0 ? IndexOf(pool, &device) : 0;
  if (index == 0 && device >= 0) return Allocated({.device = device}, Kind::kPool, bytes, forward, [&] { return *pointer; });
  if (index == 0) return forward();
  CUdevice ordinal = 0;
  if (Capturing(stream) && DeviceOf(stream, &ordinal)) return Captured(static_cast<int>(g_pools.At(index).device), ordinal, bytes, forward);
  return FromPool(index, pool, pointer, bytes, stream, forward);
}

/// Pools shrink when the host waits for the device.
CUresult Synchronised(CUresult result) {
  SettleStalePools();
  return result;
}

}  // namespace

PARTAGE_HOOK(CUresult, cuMemAllocAsync, (CUdeviceptr * dptr, size_t bytesize, CUstream stream)) {
  return FromDevice([&] { return Real(dptr, bytesize, stream); }, dptr, bytesize, stream);
}
PARTAGE_HOOK(CUresult, cuMemAllocAsync_ptsz, (CUdeviceptr * dptr, size_t bytesize, CUstream stream)) {
  return FromDevice([&] { return Real(dptr, bytesize, stream); }, dptr, bytesize, PerThread(stream));
}
PARTAGE_HOOK(CUresult, cuMemAllocFromPoolAsync, (CUdeviceptr * dptr, size_t bytesize, CUmemoryPool pool, CUstream stream)) {
  return FromNamed([&] { return Real(dptr, bytesize, pool, stream); }, dptr, bytesize, pool, stream);
}
PARTAGE_HOOK(CUresult, cuMemAllocFromPoolAsync_ptsz, (CUdeviceptr * dptr, size_t bytesize, CUmemoryPool pool, CUstream stream)) {
  return FromNamed([&] { return Real(dptr, bytesize, pool, stream); }, dptr, bytesize, pool, PerThread(stream));
}

PARTAGE_HOOK(CUresult, cuMemPoolCreate, (CUmemoryPool * pool, const CUmemPoolProps* pool_props)) {
  const Entered entered;
  const CUresult result = Real(pool, pool_props);
  if (!entered || result != CUDA_SUCCESS || pool == nullptr || pool_props == nullptr) return result;
  if (pool_props->location.type != CU_MEM_LOCATION_TYPE_DEVICE) return result;
  const int device = On(pool_props->location.id).device;
  if (device < 0 || g_pools.Open(KeyOf(*pool), static_cast<unsigned>(device)) != 0) return result;
  CallReal<Row::cuMemPoolDestroy>(*pool);  // nobody could say what it takes
  *pool = nullptr;
  return CUDA_ERROR_OUT_OF_MEMORY;
}

PARTAGE_HOOK(CUresult, cuMemPoolDestroy, (CUmemoryPool pool)) {
  const Entered entered;
  const unsigned index = entered ? g_pools.Find(KeyOf(pool)) : 0;
  if (index == 0) return Real(pool);
  const int device = static_cast<int>(g_pools.At(index).device);
  g_pools.Detach(index);
  const CUresult result = Real(pool);
  if (result == CUDA_SUCCESS) {
    if (const std::uint64_t due = g_pools.Close(index); due > 0) Refund(device, MemoryClass::kPool, due);
  } else {
    g_pools.Attach(index, KeyOf(pool));
  }
  return result;
}

PARTAGE_HOOK(CUresult, cuMemPoolTrimTo, (CUmemoryPool pool, size_t min_bytes_to_keep)) {
  const Entered entered;
  const CUresult result = Real(pool, min_bytes_to_keep);
  if (const unsigned index = entered ? g_pools.Find(KeyOf(pool)) : 0; index != 0) FollowPool(index);
  return result;
}

PARTAGE_HOOK(CUresult, cuCtxSynchronize, ()) { return Synchronised(Real()); }
PARTAGE_HOOK(CUresult, cuCtxSynchronize_v2, (CUcontext ctx)) { return Synchronised(Real(ctx)); }
PARTAGE_HOOK(CUresult, cuEventSynchronize, (CUevent event)) { return Synchronised(Real(event)); }
PARTAGE_HOOK(CUresult, cuStreamSynchronize, (CUstream stream)) { return Synchronised(Real(stream)); }
PARTAGE_HOOK(CUresult, cuStreamSynchronize_ptsz, (CUstream stream)) { return Synchronised(Real(stream)); }

}  // namespace partage::intercept
