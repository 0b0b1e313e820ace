// SPDX-License-Identifier: Apache-2.0
// What holds for every way of allocating device memory.
#include <catch2/catch.hpp>
#include <functional>
#include <vector>

#include "test/intercept/memory/gpu.h"

namespace partage::intercept {
namespace {

using shm::MemoryClass;

/// One way: a thing of `bytes` (a multiple of `unit`) is allocated, and freed again.
struct Way {
  std::string name;  // of the driver's function
  MemoryClass kind = MemoryClass::kLinear;
  std::uint64_t unit = 1;
  std::function<CUresult(std::uint64_t bytes)> allocate;
  std::function<CUresult()> free;
  std::function<CUresult()> allocate_nowhere;  // output null
};

CUdeviceptr pointer;
CUstream stream;
CUmemoryPool pool;
CUmemGenericAllocationHandle handle;
CUarray array;
CUmipmappedArray mipmapped;
CUexternalMemory external;

CUresult FreePointer() { return cuMemFree_v2(pointer); }

/// Freed in stream order, then waited for: only then has the pool let go.
CUresult FreeStreamed() {
  const CUresult result = cuMemFreeAsync(pointer, stream);
  cuStreamSynchronize(stream);
  return result;
}

CUmemAllocationProp OnDevice(CUdevice device) {
  return {.type = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device}};
}

CUDA_ARRAY3D_DESCRIPTOR Bytes3D(std::uint64_t bytes) { return {bytes, 0, 0, CU_AD_FORMAT_UNSIGNED_INT8, 1, 0}; }

CUresult CreateArray(CUarray* out, std::uint64_t bytes) {
  const CUDA_ARRAY_DESCRIPTOR descriptor{bytes, 0, CU_AD_FORMAT_UNSIGNED_INT8, 1};
  return cuArrayCreate_v2(out, &descriptor);
}

CUresult CreateArray3D(CUarray* out, std::uint64_t bytes) {
  const CUDA_ARRAY3D_DESCRIPTOR descriptor = Bytes3D(bytes);
  return cuArray3DCreate_v2(out, &descriptor);
}

CUresult CreateMipmapped(CUmipmappedArray* out, std::uint64_t bytes) {
  const CUDA_ARRAY3D_DESCRIPTOR descriptor = Bytes3D(bytes);
  return cuMipmappedArrayCreate(out, &descriptor, 1);
}

CUresult Create(CUmemGenericAllocationHandle* out, std::uint64_t bytes) {
  const CUmemAllocationProp properties = OnDevice(0);
  return cuMemCreate(out, bytes, &properties, 0);
}

CUresult Import(CUexternalMemory* out, std::uint64_t bytes) {
  CUDA_EXTERNAL_MEMORY_HANDLE_DESC description{};
  description.type = CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD;
  description.size = bytes;
  return cuImportExternalMemory(out, &description);
}

std::vector<Way> LinearWays() {
  static std::size_t pitch = 0;
  return {
      {"cuMemAlloc_v2", MemoryClass::kLinear, 1, [](auto n) { return cuMemAlloc_v2(&pointer, n); }, FreePointer,
       [] { return cuMemAlloc_v2(nullptr, 8); }},
      {"cuMemAllocManaged", MemoryClass::kManaged, 1, [](auto n) { return cuMemAllocManaged(&pointer, n, CU_MEM_ATTACH_GLOBAL); },
       FreePointer, [] { return cuMemAllocManaged(nullptr, 8, CU_MEM_ATTACH_GLOBAL); }},
      {"cuMemAllocPitch_v2", MemoryClass::kLinear, 512, [](auto n) { return cuMemAllocPitch_v2(&pointer, &pitch, n, 1, 4); }, FreePointer,
       [] { return cuMemAllocPitch_v2(nullptr, nullptr, 8, 1, 4); }},
      {"cuMemCreate", MemoryClass::kVmm, 2 * kMiB, [](auto n) { return Create(&handle, n); }, [] { return cuMemRelease(handle); },
       [] { return Create(nullptr, 2 * kMiB); }},
      {"cuArrayCreate_v2", MemoryClass::kArray, 1, [](auto n) { return CreateArray(&array, n); }, [] { return cuArrayDestroy(array); },
       [] { return CreateArray(nullptr, 8); }},
      {"cuArray3DCreate_v2", MemoryClass::kArray, 1, [](auto n) { return CreateArray3D(&array, n); }, [] { return cuArrayDestroy(array); },
       [] { return CreateArray3D(nullptr, 8); }},
      {"cuMipmappedArrayCreate", MemoryClass::kArray, 1, [](auto n) { return CreateMipmapped(&mipmapped, n); },
       [] { return cuMipmappedArrayDestroy(mipmapped); }, [] { return CreateMipmapped(nullptr, 8); }},
      {"cuImportExternalMemory", MemoryClass::kIpc, 1, [](auto n) { return Import(&external, n); },
       [] { return cuDestroyExternalMemory(external); }, [] { return Import(nullptr, 8); }},
  };
}

/// CUDA 2's interface, which drivers still export: addresses and sizes of 32 bits, so sizes wrap around before anybody sees them.
std::vector<Way> OldWays() {
  static CUdeviceptr_v1 old = 0;
  static unsigned pitch = 0;
  const auto free_old = [] { return cuMemFree(old); };
  const auto narrow = [](std::uint64_t bytes) { return static_cast<unsigned>(bytes); };
  const auto create = [=](CUarray* out, std::uint64_t n) {
    const CUDA_ARRAY_DESCRIPTOR_v1 descriptor{narrow(n), 0, CU_AD_FORMAT_UNSIGNED_INT8, 1};
    return cuArrayCreate(out, &descriptor);
  };
  const auto create_3d = [=](CUarray* out, std::uint64_t n) {
    const CUDA_ARRAY3D_DESCRIPTOR_v1 descriptor{narrow(n), 0, 0, CU_AD_FORMAT_UNSIGNED_INT8, 1, 0};
    return cuArray3DCreate(out, &descriptor);
  };
  const auto destroy = [] { return cuArrayDestroy(array); };
  return {
      {"cuMemAlloc", MemoryClass::kLinear, 1, [=](auto n) { return cuMemAlloc(&old, narrow(n)); }, free_old,
       [] { return cuMemAlloc(nullptr, 8); }},
      {"cuMemAllocPitch", MemoryClass::kLinear, 512, [=](auto n) { return cuMemAllocPitch(&old, &pitch, narrow(n), 1, 4); }, free_old,
       [] { return cuMemAllocPitch(nullptr, nullptr, 8, 1, 4); }},
      {"cuArrayCreate", MemoryClass::kArray, 1, [=](auto n) { return create(&array, n); }, destroy, [=] { return create(nullptr, 8); }},
      {"cuArray3DCreate", MemoryClass::kArray, 1, [=](auto n) { return create_3d(&array, n); }, destroy,
       [=] { return create_3d(nullptr, 8); }},
  };
}

std::vector<Way> PoolWays() {
  return {
      {"cuMemAllocAsync", MemoryClass::kPool, Gpu::kChunk, [](auto n) { return cuMemAllocAsync(&pointer, n, stream); }, FreeStreamed,
       [] { return cuMemAllocAsync(nullptr, 8, stream); }},
      {"cuMemAllocAsync_ptsz", MemoryClass::kPool, Gpu::kChunk, [](auto n) { return cuMemAllocAsync_ptsz(&pointer, n, nullptr); },
       [] {
         const CUresult result = cuMemFreeAsync_ptsz(pointer, nullptr);
         cuStreamSynchronize_ptsz(nullptr);
         return result;
       },
       [] { return cuMemAllocAsync_ptsz(nullptr, 8, nullptr); }},
      {"cuMemAllocFromPoolAsync", MemoryClass::kPool, Gpu::kChunk,
       [](auto n) { return cuMemAllocFromPoolAsync(&pointer, n, pool, stream); }, FreeStreamed,
       [] { return cuMemAllocFromPoolAsync(nullptr, 8, pool, stream); }},
      {"cuMemAllocFromPoolAsync_ptsz", MemoryClass::kPool, Gpu::kChunk,
       [](auto n) { return cuMemAllocFromPoolAsync_ptsz(&pointer, n, pool, stream); }, FreeStreamed,
       [] { return cuMemAllocFromPoolAsync_ptsz(nullptr, 8, pool, stream); }},
  };
}

/// Every way, with a stream and a pool to do it in.
class Ways {
 public:
  Ways() {
    Gpu::Get();
    REQUIRE(cuStreamCreate(&stream, 0) == CUDA_SUCCESS);
    CUmemPoolProps properties{.allocType = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0}};
    REQUIRE(cuMemPoolCreate(&pool, &properties) == CUDA_SUCCESS);
    for (auto& way : LinearWays()) all_.push_back(way);
    for (auto& way : OldWays()) all_.push_back(way);
    for (auto& way : PoolWays()) all_.push_back(way);
  }
  ~Ways() {
    cuMemPoolDestroy(pool);
    cuStreamDestroy_v2(stream);
  }
  auto begin() const { return all_.begin(); }
  auto end() const { return all_.end(); }

 private:
  std::vector<Way> all_;
};

TEST_CASE("Every way of allocating fills the share to the last byte and refuses one byte more, without asking the driver") {
  Gpu& gpu = Gpu::Get();
  for (const Way& way : Ways()) {
    INFO(way.name);
    const std::uint64_t base = gpu.Used(), most = gpu.Room() / way.unit * way.unit;
    REQUIRE(way.allocate(most) == CUDA_SUCCESS);
    CHECK(gpu.Used() == base + most);
    CHECK(gpu.Used(way.kind) >= most);
    REQUIRE(way.free() == CUDA_SUCCESS);
    CHECK(gpu.Used() == base);
    const auto calls = DriverCalls(way.name);
    CHECK(way.allocate(most + way.unit) == CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(way.allocate(gpu.Room() + 1) == CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(DriverCalls(way.name) == calls);
    CHECK(gpu.Used() == base);
  }
}

TEST_CASE("After a refusal what fits is still allocated, whatever the way") {
  Gpu& gpu = Gpu::Get();
  for (const Way& way : Ways()) {
    INFO(way.name);
    const std::uint64_t base = gpu.Used();
    CHECK(way.allocate(gpu.Room() + way.unit) == CUDA_ERROR_OUT_OF_MEMORY);
    REQUIRE(way.allocate(way.unit) == CUDA_SUCCESS);
    REQUIRE(way.free() == CUDA_SUCCESS);
    CHECK(gpu.Used() == base);
  }
}

TEST_CASE("What the driver refuses is not charged, and its answer is handed on") {
  Gpu& gpu = Gpu::Get();
  for (const Way& way : Ways()) {
    INFO(way.name);
    const std::uint64_t base = gpu.Used();
    for (const CUresult code : {CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_ILLEGAL_ADDRESS, CUDA_ERROR_NOT_SUPPORTED}) {
      const Failing failing(way.name, code);
      CHECK(way.allocate(way.unit) == code);
      CHECK(gpu.Used() == base);
    }
  }
}

TEST_CASE("A null output is the driver's to judge") {
  Gpu& gpu = Gpu::Get();
  for (const Way& way : Ways()) {
    INFO(way.name);
    const std::uint64_t base = gpu.Used();
    CHECK(way.allocate_nowhere() == CUDA_ERROR_INVALID_VALUE);
    CHECK(gpu.Used() == base);
  }
}

TEST_CASE("Sizes that no memory has are refused, not wrapped around") {
  Gpu& gpu = Gpu::Get();
  for (const Way& way : Ways()) {
    INFO(way.name);
    const std::uint64_t base = gpu.Used();
    CHECK(way.allocate(~std::uint64_t{0}) != CUDA_SUCCESS);
    CHECK(way.allocate(std::uint64_t{1} << 63) != CUDA_SUCCESS);
    CHECK(gpu.Used() == base);
  }
}

}  // namespace
}  // namespace partage::intercept
