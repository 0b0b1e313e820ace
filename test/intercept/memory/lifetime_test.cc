// SPDX-License-Identifier: Apache-2.0
// When charges end: cross frees, references, contexts, modules, pools and graphs.
#include <catch2/catch.hpp>
#include <vector>

#include "test/intercept/memory/gpu.h"

namespace partage::intercept {
namespace {

using shm::MemoryClass;
constexpr std::uint64_t kPage = 2 * kMiB;  // of virtual memory management

CUdeviceptr Allocate(std::uint64_t bytes) {
  CUdeviceptr pointer = 0;
  REQUIRE(cuMemAlloc_v2(&pointer, bytes) == CUDA_SUCCESS);
  return pointer;
}

CUdeviceptr AllocateAsync(std::uint64_t bytes) {
  CUdeviceptr pointer = 0;
  REQUIRE(cuMemAllocAsync(&pointer, bytes, nullptr) == CUDA_SUCCESS);
  return pointer;
}

CUmemGenericAllocationHandle Create(std::uint64_t bytes, CUmemLocation location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}) {
  const CUmemAllocationProp properties{.type = CU_MEM_ALLOCATION_TYPE_PINNED, .location = location};
  CUmemGenericAllocationHandle handle = 0;
  REQUIRE(cuMemCreate(&handle, bytes, &properties, 0) == CUDA_SUCCESS);
  return handle;
}

CUdeviceptr AddressSpace(std::uint64_t bytes) {
  CUdeviceptr address = 0;
  REQUIRE(cuMemAddressReserve(&address, bytes, 0, 0, 0) == CUDA_SUCCESS);
  return address;
}

TEST_CASE("Memory may be freed by the other way of freeing") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  CHECK(cuMemFree_v2(AllocateAsync(3 * kMiB)) == CUDA_SUCCESS);
  cuCtxSynchronize();
  CHECK(gpu.Used() == base);
  CHECK(cuMemFreeAsync(Allocate(3 * kMiB), nullptr) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
}

TEST_CASE("What was never allocated here is the driver's to judge") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  const auto calls = DriverCalls("cuMemFree_v2");
  CHECK(cuMemFree_v2(0x1234) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemFree_v2(0) == CUDA_SUCCESS);
  CHECK(DriverCalls("cuMemFree_v2") == calls + 2);
  CHECK(cuArrayDestroy(nullptr) != CUDA_SUCCESS);
  CHECK(cuMemRelease(0x1234) != CUDA_SUCCESS);
  CHECK(cuMemUnmap(0x1234, kPage) != CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
}

TEST_CASE("What the driver will not free stays charged, and can be freed later") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  const CUdeviceptr pointer = Allocate(5);
  {
    const Failing failing("cuMemFree_v2", CUDA_ERROR_LAUNCH_FAILED);
    CHECK(cuMemFree_v2(pointer) == CUDA_ERROR_LAUNCH_FAILED);
  }
  CHECK(gpu.Used() == base + 5);
  CHECK(cuMemFree_v2(pointer) == CUDA_SUCCESS);
  CHECK(cuMemFree_v2(pointer) == CUDA_ERROR_INVALID_VALUE);
  CHECK(gpu.Used() == base);
}

TEST_CASE("Pitched memory is charged by the pitch that the driver chose") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  CUdeviceptr pointer = 0;
  std::size_t pitch = 0;
  REQUIRE(cuMemAllocPitch_v2(&pointer, &pitch, 700, 9, 4) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base + pitch * 9);
  CHECK(cuMemFree_v2(pointer) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
}

TEST_CASE("Physical memory stays charged while a handle or a mapping refers to it") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  const CUdeviceptr address = AddressSpace(2 * kPage);
  CUmemGenericAllocationHandle handle = Create(kPage), again = 0;
  REQUIRE(cuMemMap(address, kPage, 0, handle, 0) == CUDA_SUCCESS);
  CHECK(cuMemMap(address, kPage, 0, handle, 0) != CUDA_SUCCESS);
  CHECK(cuMemRelease(handle) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base + kPage);
  REQUIRE(cuMemRetainAllocationHandle(&again, reinterpret_cast<void*>(address + 5)) == CUDA_SUCCESS);
  CHECK(cuMemUnmap(address, kPage) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base + kPage);
  CHECK(cuMemRelease(again) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
  CHECK(cuMemAddressFree(address, 2 * kPage) == CUDA_SUCCESS);
}

TEST_CASE("A handle imported by its own process is one more reference, not one more charge") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  CUmemGenericAllocationHandle handle = Create(kPage), imported = 0;
  int descriptor = -1;
  REQUIRE(cuMemExportToShareableHandle(&descriptor, handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0) == CUDA_SUCCESS);
  const auto os_handle = reinterpret_cast<void*>(static_cast<std::intptr_t>(descriptor));
  REQUIRE(cuMemImportFromShareableHandle(&imported, os_handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base + kPage);
  CHECK(cuMemRelease(handle) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base + kPage);
  CHECK(cuMemRelease(imported) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
}

TEST_CASE("The location says who pays: the device it names, and nobody for memory of the host") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used(), other = gpu.Used(1);
  const auto there = Create(kPage, {CU_MEM_LOCATION_TYPE_DEVICE, 1});
  CHECK(gpu.Used() == base);
  CHECK(gpu.Used(1) == other + kPage);
  const auto host = Create(4 * Gpu::kLimit, {CU_MEM_LOCATION_TYPE_HOST, 0});
  const auto numa = Create(4 * Gpu::kLimit, {CU_MEM_LOCATION_TYPE_HOST_NUMA, 1});
  CHECK(gpu.Used() == base);
  CHECK(gpu.Used(1) == other + kPage);
  for (const auto handle : {there, host, numa}) CHECK(cuMemRelease(handle) == CUDA_SUCCESS);
  CHECK(gpu.Used(1) == other);
}

TEST_CASE("The limit of the device that a context is on applies to it") {
  Gpu& gpu = Gpu::Get();
  CUcontext other = nullptr;
  REQUIRE(cuCtxCreate_v2(&other, 0, 1) == CUDA_SUCCESS);
  const std::uint64_t base = gpu.Used(), room = Gpu::kSmallLimit - gpu.Used(1);
  CUdeviceptr pointer = 0;
  CHECK(cuMemAlloc_v2(&pointer, room + 1) == CUDA_ERROR_OUT_OF_MEMORY);
  REQUIRE(cuMemAlloc_v2(&pointer, room) == CUDA_SUCCESS);
  CHECK(gpu.Used(1) == Gpu::kSmallLimit);
  CHECK(gpu.Used() == base);
  CHECK(cuCtxDestroy_v2(other) == CUDA_SUCCESS);
  CHECK(gpu.Used(1) == 0);
}

TEST_CASE("A context is charged what the device has less of, and everything in it goes with it") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  CHECK(gpu.Used(MemoryClass::kContext) == Gpu::kContext);
  CUcontext context = nullptr;
  REQUIRE(cuCtxCreate_v2(&context, 0, 0) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base + Gpu::kContext);
  Allocate(7 * kMiB);
  const CUDA_ARRAY_DESCRIPTOR descriptor{100, 100, CU_AD_FORMAT_FLOAT, 4};
  CUarray array = nullptr;
  REQUIRE(cuArrayCreate_v2(&array, &descriptor) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base + Gpu::kContext + 7 * kMiB + 160'000);
  {
    const Failing failing("cuCtxDestroy_v2", CUDA_ERROR_UNKNOWN);
    CHECK(cuCtxDestroy_v2(context) == CUDA_ERROR_UNKNOWN);
  }
  CHECK(gpu.Used() == base + Gpu::kContext + 7 * kMiB + 160'000);
  CHECK(cuCtxDestroy_v2(context) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
}

TEST_CASE("A context that does not fit is refused and leaves nothing behind") {
  Gpu& gpu = Gpu::Get();
  const CUdeviceptr pointer = Allocate(gpu.Room() - Gpu::kContext + 1);
  const std::uint64_t base = gpu.Used();
  CUcontext context = nullptr;
  CHECK(cuCtxCreate_v2(&context, 0, 0) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(gpu.Used() == base);
  CHECK(cuMemFree_v2(pointer) == CUDA_SUCCESS);
}

TEST_CASE("A primary context is charged once however often it is retained, until the last release") {
  Gpu& gpu = Gpu::Get();
  REQUIRE(gpu.Used(1) == 0);
  CUcontext context = nullptr;
  for (int i = 0; i < 3; ++i) REQUIRE(cuDevicePrimaryCtxRetain(&context, 1) == CUDA_SUCCESS);
  CHECK(gpu.Used(1) == Gpu::kContext);
  REQUIRE(cuCtxPushCurrent_v2(context) == CUDA_SUCCESS);
  Allocate(kMiB);
  REQUIRE(cuCtxPopCurrent_v2(&context) == CUDA_SUCCESS);
  for (int i = 0; i < 2; ++i) CHECK(cuDevicePrimaryCtxRelease_v2(1) == CUDA_SUCCESS);
  CHECK(gpu.Used(1) == Gpu::kContext + kMiB);
  CHECK(cuDevicePrimaryCtxRelease_v2(1) == CUDA_SUCCESS);
  CHECK(gpu.Used(1) == 0);
  REQUIRE(cuDevicePrimaryCtxRetain(&context, 1) == CUDA_SUCCESS);
  CHECK(gpu.Used(1) == Gpu::kContext);
  CHECK(cuDevicePrimaryCtxReset_v2(1) == CUDA_SUCCESS);
  CHECK(gpu.Used(1) == 0);
}

TEST_CASE("A module is charged what the device has less of, and unloaded again when that does not fit") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  CUmodule module = nullptr;
  REQUIRE(cuModuleLoadData(&module, "image") == CUDA_SUCCESS);
  CHECK(gpu.Used() == base + Gpu::kModule);
  CHECK(gpu.Used(MemoryClass::kModule) == Gpu::kModule);
  CHECK(cuModuleUnload(module) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
  const CUdeviceptr pointer = Allocate(gpu.Room() - Gpu::kModule + 1);
  const auto unloads = DriverCalls("cuModuleUnload");
  CHECK(cuModuleLoadData(&module, "image") == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(DriverCalls("cuModuleUnload") == unloads + 1);
  CHECK(gpu.Used() == Gpu::kLimit - Gpu::kModule + 1);
  CHECK(cuMemFree_v2(pointer) == CUDA_SUCCESS);
}

/// Device 0's default pool keeps everything that is freed into it while in scope.
class KeepingPool {
 public:
  KeepingPool() {
    REQUIRE(cuDeviceGetDefaultMemPool(&pool_, 0) == CUDA_SUCCESS);
    Threshold(cuuint64_t{1} << 40);
  }
  ~KeepingPool() {
    Threshold(0);
    cuMemPoolTrimTo(pool_, 0);
  }
  KeepingPool(const KeepingPool&) = delete;
  KeepingPool& operator=(const KeepingPool&) = delete;

 private:
  void Threshold(cuuint64_t bytes) { cuMemPoolSetAttribute(pool_, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &bytes); }
  CUmemoryPool pool_ = nullptr;
};

TEST_CASE("A pool is charged for what it keeps, and lets go of it before anything is refused") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  const KeepingPool keeping;
  const CUdeviceptr block = AllocateAsync(3 * Gpu::kChunk - 1);
  CHECK(gpu.Used() == base + 3 * Gpu::kChunk);
  CHECK(cuMemFreeAsync(block, nullptr) == CUDA_SUCCESS);
  cuCtxSynchronize();
  CHECK(gpu.Used() == base + 3 * Gpu::kChunk);
  const CUdeviceptr all = Allocate(Gpu::kLimit - base);
  CHECK(gpu.Used() == Gpu::kLimit);
  CHECK(cuMemFree_v2(all) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
}

TEST_CASE("A full share still serves blocks that the pool has free, and refuses those that would make it grow") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  const KeepingPool keeping;
  const CUdeviceptr first = AllocateAsync(20 * kMiB), rest = Allocate(gpu.Room());
  const CUdeviceptr second = AllocateAsync(12 * kMiB);  // the chunk's other part
  CHECK(gpu.Used() == Gpu::kLimit);
  CUdeviceptr third = 0;
  CHECK(cuMemAllocAsync(&third, 1, nullptr) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(gpu.Used() == Gpu::kLimit);
  for (const CUdeviceptr pointer : {first, second, rest}) CHECK(cuMemFree_v2(pointer) == CUDA_SUCCESS);
  cuCtxSynchronize();
  CUmemoryPool pool = nullptr;
  REQUIRE(cuDeviceGetDefaultMemPool(&pool, 0) == CUDA_SUCCESS);
  CHECK(cuMemPoolTrimTo(pool, 0) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
}

TEST_CASE("A pool that grows by more than there is room for is undone") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  const CUdeviceptr most = Allocate(gpu.Room() - Gpu::kChunk + 1);
  CUdeviceptr block = 0;
  CHECK(cuMemAllocAsync(&block, kMiB, nullptr) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(gpu.Used() == Gpu::kLimit - Gpu::kChunk + 1);
  CHECK(cuMemFree_v2(most) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
}

TEST_CASE("A destroyed pool gives its charge back, and a pool of host memory never had one") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  CUmemoryPool device = nullptr, host = nullptr;
  CUmemPoolProps properties{.allocType = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
  REQUIRE(cuMemPoolCreate(&device, &properties) == CUDA_SUCCESS);
  properties.location = {CU_MEM_LOCATION_TYPE_HOST_NUMA, 0};
  REQUIRE(cuMemPoolCreate(&host, &properties) == CUDA_SUCCESS);
  CUdeviceptr block = 0;
  REQUIRE(cuMemAllocFromPoolAsync(&block, 4 * Gpu::kLimit, host, nullptr) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
  CHECK(cuMemFreeAsync(block, nullptr) == CUDA_SUCCESS);
  REQUIRE(cuMemAllocFromPoolAsync(&block, kMiB, device, nullptr) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base + Gpu::kChunk);
  CHECK(cuMemFreeAsync(block, nullptr) == CUDA_SUCCESS);
  CHECK(cuMemPoolDestroy(device) == CUDA_SUCCESS);
  CHECK(cuMemPoolDestroy(host) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
}

TEST_CASE("Imported memory of another API is charged once, whatever is mapped of it") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  CUDA_EXTERNAL_MEMORY_HANDLE_DESC description{};
  description.type = CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD;
  description.size = kMiB;
  CUexternalMemory memory = nullptr;
  REQUIRE(cuImportExternalMemory(&memory, &description) == CUDA_SUCCESS);
  CUDA_EXTERNAL_MEMORY_BUFFER_DESC part{};
  part.size = kMiB;
  CUdeviceptr mapped = 0;
  REQUIRE(cuExternalMemoryGetMappedBuffer(&mapped, memory, &part) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base + kMiB);
  CHECK(cuMemFree_v2(mapped) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base + kMiB);
  CHECK(cuDestroyExternalMemory(memory) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
}

}  // namespace
}  // namespace partage::intercept
