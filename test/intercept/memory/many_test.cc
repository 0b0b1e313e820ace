// SPDX-License-Identifier: Apache-2.0
// More pools and contexts than the tables hold, and pools that nobody made.
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "test/intercept/memory/gpu.h"
#include "test/intercept/memory/tenants.h"

namespace partage::intercept {
namespace {

constexpr std::uint64_t kLimit = 1024 * kMiB;
const std::string kProfile = "device memory=16G; context 1M";

CUmemPoolProps OnDevice() { return {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}}; }

TEST_CASE("A device's own pool is charged when it is first met by its name") {
  const Tenants tenants(kLimit, kProfile);
  CHECK(Succeeded(Child([&] {
    Start();
    const std::uint64_t base = tenants.Used();
    CUmemoryPool pool = nullptr;
    CUdeviceptr pointer = 0;
    if (cuDeviceGetDefaultMemPool(&pool, 0) != CUDA_SUCCESS) return false;
    const bool refused = cuMemAllocFromPoolAsync(&pointer, kLimit - base + 1, pool, nullptr) == CUDA_ERROR_OUT_OF_MEMORY;
    const bool given = cuMemAllocFromPoolAsync(&pointer, 100 * kMiB, pool, nullptr) == CUDA_SUCCESS;
    const bool charged = tenants.Used() >= base + 100 * kMiB;
    const bool freed = cuMemFreeAsync(pointer, nullptr) == CUDA_SUCCESS && cuCtxSynchronize() == CUDA_SUCCESS &&
                       cuMemPoolTrimTo(pool, 0) == CUDA_SUCCESS && tenants.Used() == base;
    return refused && given && charged && freed;
  })));
}

TEST_CASE("A pool that there is no place left to account for is not made") {
  const Tenants tenants(kLimit, kProfile);
  CHECK(Succeeded(Child([&] {
    Start();
    const std::uint64_t base = tenants.Used();
    const CUmemPoolProps properties = OnDevice();
    std::vector<CUmemoryPool> pools;
    CUmemoryPool pool = nullptr;
    CUresult last = CUDA_SUCCESS;
    for (int i = 0; i < 300 && last == CUDA_SUCCESS; ++i) {
      last = cuMemPoolCreate(&pool, &properties);
      if (last == CUDA_SUCCESS) pools.push_back(pool);
    }
    CUdeviceptr pointer = 0;
    bool good = last == CUDA_ERROR_OUT_OF_MEMORY && pool == nullptr && pools.size() > 200;
    good = good && cuMemAllocFromPoolAsync(&pointer, 2 * kLimit, pools.back(), nullptr) == CUDA_ERROR_OUT_OF_MEMORY;
    good = good && cuMemPoolDestroy(pools.back()) == CUDA_SUCCESS && cuMemPoolCreate(&pools.back(), &properties) == CUDA_SUCCESS;
    // The device's own pool has no place then, and its blocks are charged one by one.
    CUmemoryPool own = nullptr;
    good = good && cuDeviceGetDefaultMemPool(&own, 0) == CUDA_SUCCESS;
    good = good && cuMemAllocFromPoolAsync(&pointer, 2 * kLimit, own, nullptr) == CUDA_ERROR_OUT_OF_MEMORY;
    good = good && cuMemAllocFromPoolAsync(&pointer, 64 * kMiB, own, nullptr) == CUDA_SUCCESS && tenants.Used() == base + 64 * kMiB;
    good = good && cuMemFreeAsync(pointer, nullptr) == CUDA_SUCCESS && tenants.Used() == base;
    for (CUmemoryPool each : pools) good = cuMemPoolDestroy(each) == CUDA_SUCCESS && good;
    return good;
  })));
}

TEST_CASE("A context that there is no place left to account for is not made, and what was made goes back whole") {
  const Tenants tenants(kLimit, kProfile);
  CHECK(Succeeded(Child([&] {
    Start();
    const std::uint64_t base = tenants.Used();
    std::vector<CUcontext> contexts;
    CUcontext context = nullptr;
    CUresult last = CUDA_SUCCESS;
    for (int i = 0; i < 300 && last == CUDA_SUCCESS; ++i) {
      last = cuCtxCreate_v2(&context, 0, 0);
      if (last == CUDA_SUCCESS) contexts.push_back(context);
    }
    bool good = last == CUDA_ERROR_OUT_OF_MEMORY && context == nullptr && contexts.size() > 200;
    good = good && tenants.Used() == base + contexts.size() * kMiB;
    for (CUcontext each : contexts) good = cuCtxDestroy_v2(each) == CUDA_SUCCESS && good;
    return good && tenants.Used() == base;
  })));
}

/// Holds all that is left of the share for a third of a millisecond, again and again, as a neighbour does whose pool may grow.
void HoldAgainAndAgain(int until) {
  shm::Region region;
  if (region.OpenOrCreate(getenv("PARTAGE_USAGE")) != shm::Fault::kNone || region.Claim() != shm::Fault::kNone) return;
  char byte = 0;
  while (read(until, &byte, 1) < 0) {
    const std::uint64_t room = kLimit - region.Used(0);
    const bool held = region.Reserve(0, shm::MemoryClass::kPool, room, kLimit);
    usleep(300);
    if (held) region.Refund(0, shm::MemoryClass::kPool, room);
    usleep(300);
  }
}

TEST_CASE("Room that a neighbour holds for a moment is waited for before a pool is refused") {
  const Tenants tenants(kLimit, "device memory=16G");
  int stop[2];
  REQUIRE(pipe2(stop, O_NONBLOCK) == 0);
  const pid_t neighbour = Child([&] { return HoldAgainAndAgain(stop[0]), true; });
  const pid_t asking = Child([&] {
    Start();
    int refused[2] = {};
    for (int i = 0; i < 400; ++i) {
      CUdeviceptr pointer = 0;
      for (const bool pool : {false, true}) {
        if ((pool ? cuMemAllocAsync(&pointer, kMiB, nullptr) : cuMemAlloc_v2(&pointer, kMiB)) == CUDA_SUCCESS) {
          cuMemFree_v2(pointer), cuCtxSynchronize();
        } else {
          ++refused[pool ? 1 : 0];
        }
        usleep(50);
      }
    }
    std::printf("refused of 400 each: memory %d, pool %d\n", refused[0], refused[1]);
    std::fflush(stdout);
    return refused[0] > 10 && refused[1] < refused[0] / 2;
  });
  CHECK(Succeeded(asking));
  REQUIRE(write(stop[1], "", 1) == 1);
  CHECK(Succeeded(neighbour));
}

}  // namespace
}  // namespace partage::intercept
