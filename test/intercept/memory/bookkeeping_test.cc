// SPDX-License-Identifier: Apache-2.0
// Freeing, and all that costs nothing, where the library cannot account for anything: no place in the usage file, no usage file, no memory for its tables.
#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "shm/region.h"
#include "test/intercept/memory/blocks.h"
#include "test/intercept/memory/puppet.h"
#include "test/intercept/memory/tenants.h"
#include "test/support/libcuda/client.h"
#include "test/support/temp_folder.h"

namespace partage::intercept {
namespace {

using test::Expect;

constexpr std::uint64_t kLimit = 1024 * kMiB;
constexpr Way kWays[] = {Way::kLinear, Way::kPitched, Way::kManaged, Way::kArray, Way::kPhysical, Way::kPooled};
const std::string kProfile = "device memory=16G; " + kExact;

void ExpectRefused() {
  for (const Way way : kWays) {
    Block block;
    Expect(Take(way, 2 * kMiB, &block) == CUDA_ERROR_OUT_OF_MEMORY);
  }
}

/// Memory of the host, whichever way it is asked for.
void ExpectHostMemory() {
  void* host = nullptr;
  Expect(cuMemAllocHost_v2(&host, 4096) == CUDA_SUCCESS && cuMemFreeHost(host) == CUDA_SUCCESS);
  const CUmemAllocationProp properties{.type = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {CU_MEM_LOCATION_TYPE_HOST, 0}};
  CUmemGenericAllocationHandle handle = 0;
  CUdeviceptr address = 0;
  Expect(cuMemCreate(&handle, 64 << 10, &properties, 0) == CUDA_SUCCESS &&
         cuMemAddressReserve(&address, 64 << 10, 0, 0, 0) == CUDA_SUCCESS);
  Expect(cuMemMap(address, 64 << 10, 0, handle, 0) == CUDA_SUCCESS && cuMemRelease(handle) == CUDA_SUCCESS);
  Expect(cuMemUnmap(address, 64 << 10) == CUDA_SUCCESS && cuMemAddressFree(address, 64 << 10) == CUDA_SUCCESS);
  const CUmemPoolProps of_host{.allocType = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {CU_MEM_LOCATION_TYPE_HOST_NUMA, 0}};
  CUmemoryPool pool = nullptr;
  CUdeviceptr block = 0;
  Expect(cuMemPoolCreate(&pool, &of_host) == CUDA_SUCCESS && cuMemAllocFromPoolAsync(&block, 4096, pool, nullptr) == CUDA_SUCCESS);
  Expect(cuMemFreeAsync(block, nullptr) == CUDA_SUCCESS && cuMemPoolDestroy(pool) == CUDA_SUCCESS);
}

/// What takes nothing of the device is had and given back as ever.
void ExpectTheRestWorks() {
  Expect(cuMemFree_v2(0) == CUDA_SUCCESS);
  Expect(cuMemFree_v2(0x1234) == CUDA_ERROR_INVALID_VALUE);  // the driver's word
  ExpectHostMemory();
  const CUDA_ARRAY3D_DESCRIPTOR sparse{64, 64, 0, CU_AD_FORMAT_FLOAT, 4, CUDA_ARRAY3D_SPARSE};
  CUarray array = nullptr;
  Expect(cuArray3DCreate_v2(&array, &sparse) == CUDA_SUCCESS && cuArrayDestroy(array) == CUDA_SUCCESS);
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  Expect(cuModuleLoadData(&module, "image") == CUDA_SUCCESS && cuModuleGetFunction(&function, module, "spin_1us") == CUDA_SUCCESS);
  CUstream stream = nullptr;
  Expect(cuStreamCreate(&stream, 0) == CUDA_SUCCESS);
  Expect(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, nullptr, nullptr) == CUDA_SUCCESS);
  Expect(cuStreamSynchronize(stream) == CUDA_SUCCESS && cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
  Expect(cuModuleUnload(module) == CUDA_SUCCESS);
  CUcontext context = nullptr;
  Expect(cuCtxCreate_v2(&context, 0, 0) == CUDA_SUCCESS && cuCtxDestroy_v2(context) == CUDA_SUCCESS);
}

void TakeAndFreeAll() {
  for (const Way way : kWays) {
    Block block;
    Expect(Take(way, 2 * kMiB, &block) == CUDA_SUCCESS && Free(block) == CUDA_SUCCESS);
  }
  Expect(cuCtxSynchronize() == CUDA_SUCCESS);
}

TEST_CASE("Without a place in the usage file memory is refused and nothing else, until another process makes room") {
  const Tenants tenants(kLimit, kProfile);
  const shm::Shared<std::atomic<unsigned>> there;
  std::vector<shm::Child> others;
  for (unsigned i = 0; i < shm::kMaxProcesses; ++i) {
    others.emplace_back([&] {
      shm::Region region;
      if (region.OpenOrCreate(std::getenv("PARTAGE_USAGE")) != shm::Fault::kNone || region.Claim() != shm::Fault::kNone) return 1;
      *there += 1;
      for (;;) pause();
    });
  }
  REQUIRE(shm::WaitFor([&] { return *there == shm::kMaxProcesses; }, 60));
  Puppet late([](char command) {
    if (command == 'l') return TakeAndFreeAll(), true;
    Start();
    ExpectRefused();
    ExpectTheRestWorks();
    return true;
  });
  CHECK(late.Do('a'));
  others[200].Kill();
  CHECK(late.Do('l'));
  CHECK(tenants.Used() == 0);
}

TEST_CASE("Told to refuse for want of a usage file, a process is refused memory and nothing else") {
  const Tenants tenants(kLimit, kProfile);
  const test::TempFolder folder;
  const std::string damaged = folder.Write("usage", std::string(4096, 'x'));
  CHECK(Succeeded(Child([&] {
    setenv("PARTAGE_USAGE", damaged.c_str(), 1);
    setenv("PARTAGE_ON_FAULT", "refuse", 1);
    Start();
    ExpectRefused();
    ExpectTheRestWorks();
    return true;
  })));
}

/// While in scope the kernel gives the process no more memory. The heap has enough for the fake driver.
class NoMoreMemory {
 public:
  NoMoreMemory() {
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    void* volatile heap = std::malloc(32 * kMiB);
    std::free(heap);
    getrlimit(RLIMIT_AS, &old_);
    const rlimit none{4096, old_.rlim_max};
    Expect(setrlimit(RLIMIT_AS, &none) == 0);
    Expect(mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
  }
  ~NoMoreMemory() { setrlimit(RLIMIT_AS, &old_); }
  NoMoreMemory(const NoMoreMemory&) = delete;
  NoMoreMemory& operator=(const NoMoreMemory&) = delete;

 private:
  rlimit old_{};
};

void TakeMany(Way way, unsigned count, std::vector<Block>& blocks) {
  const std::uint64_t bytes = way == Way::kPhysical ? 64 << 10 : 100;
  for (unsigned i = 0; i < count; ++i) Expect(Take(way, bytes, &blocks.emplace_back()) == CUDA_SUCCESS);
}

void FreeMany(const std::vector<Block>& blocks) {
  for (const Block& block : blocks) Expect(Free(block) == CUDA_SUCCESS);
}

TEST_CASE(
    "When the kernel gives no memory for the tables, nothing is refused that fits, all can be freed, and at worst too much stays charged") {
  const unsigned before = GENERATE(0U, 3'000U);  // so that there are no tables yet, or full ones
  const Tenants tenants(kLimit, kProfile);
  CHECK(Succeeded(Child([&] {
    Start();
    CUdeviceptr address = 0;  // the fake driver's address space, without anything that would have to be accounted for
    Expect(cuMemAddressReserve(&address, 64 << 10, 0, 0, 0) == CUDA_SUCCESS && cuMemAddressFree(address, 64 << 10) == CUDA_SUCCESS);
    std::vector<Block> blocks;
    blocks.reserve(40'000);
    TakeMany(Way::kLinear, before, blocks);
    TakeMany(Way::kPhysical, before / 10, blocks);
    const std::uint64_t held = tenants.Used();
    {
      const NoMoreMemory none;
      TakeMany(Way::kLinear, 8'000, blocks);
      TakeMany(Way::kArray, 8'000, blocks);
      TakeMany(Way::kPhysical, 1'000, blocks);
      FreeMany(blocks);
      TakeAndFreeAll();
      Expect(TrulyUsed() == 0);
    }
    Expect(tenants.Used() <= held + 16'000 * 100 + 1'000 * (64 << 10) + 12 * kMiB);
    const std::uint64_t lost = tenants.Used();
    blocks.clear();
    TakeMany(Way::kLinear, 20'000, blocks);
    FreeMany(blocks);
    return tenants.Used() == lost && lost > 0;
  })));
  CHECK(tenants.IsFree(kLimit));
  CHECK(tenants.Used() == 0);
}

}  // namespace
}  // namespace partage::intercept
