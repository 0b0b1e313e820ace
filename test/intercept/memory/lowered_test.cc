// SPDX-License-Identifier: Apache-2.0
// A limit that falls below what is in use, and rises again.
#include <catch2/catch.hpp>
#include <vector>

#include "test/intercept/memory/blocks.h"
#include "test/intercept/memory/puppet.h"
#include "test/intercept/memory/tenants.h"
#include "test/support/libcuda/client.h"

namespace partage::intercept {
namespace {

using test::Expect;

constexpr Way kWays[] = {Way::kLinear, Way::kPitched, Way::kManaged, Way::kArray, Way::kPhysical, Way::kPooled};
const std::string kProfile = "device memory=16G; " + kExact;

std::vector<Block> TakeEach(std::uint64_t bytes) {
  std::vector<Block> blocks;
  for (const Way way : kWays) Expect(Take(way, bytes, &blocks.emplace_back()) == CUDA_SUCCESS);
  return blocks;
}

void FreeAll(const std::vector<Block>& blocks) {
  for (const Block& block : blocks) Expect(Free(block) == CUDA_SUCCESS);
  Expect(cuCtxSynchronize() == CUDA_SUCCESS);
}

/// Each way asks for the least that it gives.
void ExpectNothingMore() {
  for (const Way way : kWays) {
    const std::uint64_t least = way == Way::kPooled ? 2 * kMiB : way == Way::kPhysical ? 64 << 10 : way == Way::kPitched ? 512 : 1;
    Block block;
    Expect(Take(way, least, &block) == CUDA_ERROR_OUT_OF_MEMORY);
  }
}

/// CUDA and NVML, in both forms, say that of `total` bytes `used` are.
void ExpectTold(std::uint64_t total, std::uint64_t used) {
  std::size_t free = 0, all = 0, of_device = 0;
  Expect(cuMemGetInfo_v2(&free, &all) == CUDA_SUCCESS && all == total && free == total - used);
  Expect(cuDeviceTotalMem_v2(&of_device, 0) == CUDA_SUCCESS && of_device == total);
  nvmlDevice_t device = nullptr;
  nvmlMemory_t first{};
  nvmlMemory_v2_t second{.version = NvmlStructVersion(sizeof(second), 2)};
  Expect(nvmlInit_v2() == NVML_SUCCESS && nvmlDeviceGetHandleByIndex_v2(0, &device) == NVML_SUCCESS);
  Expect(nvmlDeviceGetMemoryInfo(device, &first) == NVML_SUCCESS);
  Expect(first.total == total && first.used == used && first.free == total - used);
  Expect(nvmlDeviceGetMemoryInfo_v2(device, &second) == NVML_SUCCESS);
  Expect(second.total == total && second.used == used && second.free == total - used && second.reserved == 0);
  Expect(nvmlShutdown() == NVML_SUCCESS);
}

TEST_CASE("A limit lowered below what is in use refuses what is new and frees what is old, and raised again grants at once") {
  const std::uint32_t flags = GENERATE(0U, shm::kOversubscribe);
  const Tenants tenants(1024 * kMiB, kProfile, flags);
  CHECK(Succeeded(Child([&] {
    Start();
    std::vector<Block> blocks = TakeEach(100 * kMiB);
    ExpectTold(1024 * kMiB, 600 * kMiB);
    Expect(ChangeMemoryLimit(300 * kMiB));
    ExpectTold(300 * kMiB, 300 * kMiB);  // of the share nothing is left, and no more of it than all can be used
    ExpectNothingMore();
    Expect(tenants.Used() == 600 * kMiB);
    Expect(cuMemsetD8_v2(blocks[0].handle, 1, 4096) == CUDA_SUCCESS);
    FreeAll({blocks.begin(), blocks.begin() + 3});
    ExpectTold(300 * kMiB, 300 * kMiB);
    ExpectNothingMore();
    FreeAll({blocks.begin() + 3, blocks.begin() + 4});
    blocks.erase(blocks.begin(), blocks.begin() + 4);
    ExpectTold(300 * kMiB, 200 * kMiB);
    Expect(Take(Way::kLinear, 100 * kMiB, &blocks.emplace_back()) == CUDA_SUCCESS);
    ExpectNothingMore();
    Expect(ChangeMemoryLimit(2048 * kMiB));
    ExpectTold(2048 * kMiB, 300 * kMiB);
    Expect(Take(Way::kManaged, 1748 * kMiB, &blocks.emplace_back()) == CUDA_SUCCESS);
    ExpectNothingMore();
    FreeAll(blocks);
    ExpectTold(2048 * kMiB, 0);
    return tenants.Used() == 0;
  })));
}

TEST_CASE("A limit lowered to a byte takes nothing away from whoever holds more, and refuses the neighbours") {
  const Tenants tenants(1024 * kMiB, kProfile + "; context 20M; module 1M");
  Puppet holder([blocks = std::vector<Block>()](char command) mutable {
    if (command == 'f') return FreeAll(blocks), cuDevicePrimaryCtxRelease_v2(0) == CUDA_SUCCESS;
    Start();
    CUmodule module = nullptr;
    Expect(cuModuleLoadData(&module, "image") == CUDA_SUCCESS);
    blocks = TakeEach(20 * kMiB);
    return true;
  });
  REQUIRE(holder.Do('a'));
  CHECK(tenants.Used() == 141 * kMiB);
  REQUIRE(ChangeMemoryLimit(1));
  CHECK_FALSE(tenants.IsFree(1));
  CHECK(tenants.Used() == 141 * kMiB);
  CHECK(holder.Do('f'));  // with its context and module
  CHECK(tenants.Used() == 0);
}

}  // namespace
}  // namespace partage::intercept
