// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <string>

#include "test/support/libcuda/test/started.h"
#include "test/support/temp_folder.h"

namespace partage::test {
namespace {

const Child::Environment kSmall = {{"FAKE_CUDA", "device memory=64M"}};

TEST_CASE("Every kind of device memory is taken from the device, and comes back") {
  Child child(kSmall, [] {
    const Started cuda;
    CUdeviceptr linear = 0, pitched = 0, managed = 0;
    size_t pitch = 0;
    Expect(cuda.cuMemAlloc_v2(&linear, 1000) == CUDA_SUCCESS && cuda.Used() == 1024);
    Expect(cuda.cuMemAllocPitch_v2(&pitched, &pitch, 100, 10, 4) == CUDA_SUCCESS && pitch == 512 && cuda.Used() == 1024 + 5120);
    Expect(cuda.cuMemAllocManaged(&managed, kMiB, CU_MEM_ATTACH_GLOBAL) == CUDA_SUCCESS && cuda.Used() == kMiB + 6144);
    for (const CUdeviceptr pointer : {linear, pitched, managed}) Expect(cuda.cuMemFree_v2(pointer) == CUDA_SUCCESS);
    CUarray array = nullptr;
    const CUDA_ARRAY_DESCRIPTOR shape{1024, 1024, CU_AD_FORMAT_FLOAT, 1};
    Expect(cuda.cuArrayCreate_v2(&array, &shape) == CUDA_SUCCESS && cuda.Used() == 4 * kMiB);
    CUDA_ARRAY_MEMORY_REQUIREMENTS requirements{};
    Expect(cuda.cuArrayGetMemoryRequirements(&requirements, array, 0) == CUDA_SUCCESS && requirements.size == 4 * kMiB);
    Expect(cuda.cuArrayDestroy(array) == CUDA_SUCCESS && cuda.Used() == 0);
  });
  CHECK(child.Good());
}

TEST_CASE("What does not fit is refused and leaves nothing behind, managed memory always fits") {
  Child child(kSmall, [] {
    const Started cuda;
    CUdeviceptr pointer = 0;
    Expect(cuda.cuMemAlloc_v2(&pointer, 64 * kMiB + 1) == CUDA_ERROR_OUT_OF_MEMORY && cuda.Used() == 0);
    Expect(cuda.cuMemAlloc_v2(&pointer, 64 * kMiB) == CUDA_SUCCESS && cuda.Used() == 64 * kMiB);
    Expect(cuda.cuMemAllocManaged(&pointer, 100 * kMiB, CU_MEM_ATTACH_GLOBAL) == CUDA_SUCCESS && cuda.Used() == 64 * kMiB);
    Expect(cuda.cuMemFree_v2(12345) == CUDA_ERROR_INVALID_VALUE && cuda.cuMemFree_v2(0) == CUDA_SUCCESS);
  });
  CHECK(child.Good());
}

TEST_CASE("Copies and sets move bytes") {
  Child child(kSmall, [] {
    const Started cuda;
    CUdeviceptr from = 0, to = 0;
    Expect(cuda.cuMemAlloc_v2(&from, 64) == CUDA_SUCCESS && cuda.cuMemAlloc_v2(&to, 64) == CUDA_SUCCESS);
    char back[64] = {};
    Expect(cuda.cuMemsetD32_v2(from, 0x64636261, 16) == CUDA_SUCCESS);
    Expect(cuda.cuMemcpyHtoD_v2(from + 4, "XY", 2) == CUDA_SUCCESS && cuda.cuMemcpyDtoDAsync_v2(to, from, 64, nullptr) == CUDA_SUCCESS);
    Expect(cuda.cuMemcpyDtoH_v2(back, to, 64) == CUDA_SUCCESS && std::memcmp(back, "abcdXYcdabcd", 12) == 0);
  });
  CHECK(child.Good());
}

TEST_CASE("A pool keeps what is freed into it until something synchronises, up to its threshold") {
  Child child({{"FAKE_CUDA", "device memory=64M; pool_chunk 4M"}}, [] {
    const Started cuda;
    CUmemoryPool pool = nullptr;
    CUdeviceptr a = 0, b = 0;
    cuuint64_t value = 0, keep = 4 * kMiB;
    Expect(cuda.cuDeviceGetDefaultMemPool(&pool, 0) == CUDA_SUCCESS);
    Expect(cuda.cuMemAllocAsync(&a, 3 * kMiB, nullptr) == CUDA_SUCCESS && cuda.cuMemAllocAsync(&b, 3 * kMiB, nullptr) == CUDA_SUCCESS);
    Expect(cuda.Used() == 8 * kMiB);
    Expect(cuda.cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &value) == CUDA_SUCCESS && value == 6 * kMiB);
    Expect(cuda.cuMemFreeAsync(a, nullptr) == CUDA_SUCCESS && cuda.cuMemFree_v2(b) == CUDA_SUCCESS && cuda.Used() == 8 * kMiB);
    Expect(cuda.cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep) == CUDA_SUCCESS);
    Expect(cuda.cuStreamSynchronize(nullptr) == CUDA_SUCCESS && cuda.Used() == 4 * kMiB);
    Expect(cuda.cuMemPoolTrimTo(pool, 0) == CUDA_SUCCESS && cuda.Used() == 0);
    Expect(cuda.cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH, &value) == CUDA_SUCCESS && value == 8 * kMiB);
    Expect(cuda.cuMemAllocAsync(&a, 65 * kMiB, nullptr) == CUDA_ERROR_OUT_OF_MEMORY && cuda.Used() == 0);
  });
  CHECK(child.Good());
}

TEST_CASE("Physical memory lives as long as a handle or a mapping needs it") {
  Child child(kSmall, [] {
    const Started cuda;
    CUmemAllocationProp properties{};
    properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    CUmemGenericAllocationHandle handle = 0, retained = 0;
    CUdeviceptr range = 0;
    Expect(cuda.cuMemCreate(&handle, 2 * kMiB + 1, &properties, 0) == CUDA_ERROR_INVALID_VALUE);
    Expect(cuda.cuMemCreate(&handle, 4 * kMiB, &properties, 0) == CUDA_SUCCESS && cuda.Used() == 4 * kMiB);
    Expect(cuda.cuMemAddressReserve(&range, 8 * kMiB, 0, 0, 0) == CUDA_SUCCESS &&
           cuda.cuMemMap(range, 4 * kMiB, 0, handle, 0) == CUDA_SUCCESS);
    Expect(cuda.cuMemMap(range + 2 * kMiB, 4 * kMiB, 0, handle, 0) == CUDA_ERROR_INVALID_VALUE);
    Expect(cuda.cuMemRelease(handle) == CUDA_SUCCESS && cuda.Used() == 4 * kMiB);
    Expect(cuda.cuMemRelease(handle) == CUDA_ERROR_INVALID_VALUE);
    Expect(cuda.cuMemRetainAllocationHandle(&retained, reinterpret_cast<void*>(range + kMiB)) == CUDA_SUCCESS && retained == handle);
    Expect(cuda.cuMemUnmap(range, 4 * kMiB) == CUDA_SUCCESS && cuda.Used() == 4 * kMiB);
    Expect(cuda.cuMemRelease(retained) == CUDA_SUCCESS && cuda.Used() == 0);
    properties.location.type = CU_MEM_LOCATION_TYPE_HOST;
    Expect(cuda.cuMemCreate(&handle, 4 * kMiB, &properties, 0) == CUDA_SUCCESS && cuda.Used() == 0);
  });
  CHECK(child.Good());
}

TEST_CASE("Processes share a device's memory, and a killed one's comes back") {
  TempFolder folder;
  const Child::Environment shared = {{"FAKE_CUDA", "device memory=64M; shm " + folder.path() + "/gpus"}};
  int ready[2], go[2];
  REQUIRE((pipe(ready) == 0 && pipe(go) == 0));
  Child holder(shared, [&] {
    const Started cuda;
    CUdeviceptr pointer = 0;
    Expect(cuda.cuMemAlloc_v2(&pointer, 60 * kMiB) == CUDA_SUCCESS && write(ready[1], "x", 1) == 1);
    pause();
  });
  Child other(shared, [&] {
    const Started cuda;
    CUdeviceptr pointer = 0;
    char byte = 0;
    Expect(read(ready[0], &byte, 1) == 1 && cuda.Used() == 60 * kMiB);
    Expect(cuda.cuMemAlloc_v2(&pointer, 5 * kMiB) == CUDA_ERROR_OUT_OF_MEMORY);
    kill(holder.pid(), SIGKILL);
    while (kill(holder.pid(), 0) == 0 && cuda.Used() > 0) usleep(1000);
    Expect(cuda.cuMemAlloc_v2(&pointer, 64 * kMiB) == CUDA_SUCCESS);
  });
  CHECK(other.Good());
  CHECK_FALSE(holder.Good());
}

TEST_CASE("Memory of another process is seen but not taken again") {
  TempFolder folder;
  const Child::Environment shared = {{"FAKE_CUDA", "device memory=64M; shm " + folder.path() + "/gpus"}};
  int pipes[2];
  REQUIRE(pipe(pipes) == 0);
  Child owner(shared, [&] {
    const Started cuda;
    CUdeviceptr pointer = 0, opened = 0;
    CUipcMemHandle handle{};
    Expect(cuda.cuMemAlloc_v2(&pointer, kMiB) == CUDA_SUCCESS && cuda.cuIpcGetMemHandle(&handle, pointer) == CUDA_SUCCESS);
    Expect(cuda.cuIpcOpenMemHandle_v2(&opened, handle, 1) == CUDA_ERROR_INVALID_CONTEXT);
    Expect(write(pipes[1], &handle, sizeof(handle)) == sizeof(handle));
    pause();
  });
  Child reader(shared, [&] {
    const Started cuda;
    CUipcMemHandle handle{};
    CUdeviceptr pointer = 0;
    Expect(read(pipes[0], &handle, sizeof(handle)) == sizeof(handle));
    Expect(cuda.cuIpcOpenMemHandle_v2(&pointer, handle, 1) == CUDA_SUCCESS && cuda.Used() == kMiB);
    Expect(cuda.cuMemFree_v2(pointer) == CUDA_ERROR_INVALID_VALUE && cuda.cuIpcCloseMemHandle(pointer) == CUDA_SUCCESS);
  });
  CHECK(reader.Good());
  kill(owner.pid(), SIGKILL);
}

}  // namespace
}  // namespace partage::test
