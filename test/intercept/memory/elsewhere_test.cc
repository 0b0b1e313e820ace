// SPDX-License-Identifier: Apache-2.0
// Places where limits must hold, too: NVML counts processes as the host does or hides them, the device is a MIG instance, HAMi's variables name the files.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>

#include "shm/region.h"
#include "test/intercept/memory/blocks.h"
#include "test/intercept/memory/puppet.h"
#include "test/intercept/memory/tenants.h"
#include "test/support/libcuda/client.h"
#include "test/support/temp_folder.h"

namespace partage::intercept {
namespace {

using test::Expect;

constexpr std::uint64_t kLimit = 512 * kMiB;
constexpr std::uint64_t kContext = 100 * kMiB;

/// Of what is left after `used`, all can be had, and not a byte more.
void ExpectLeft(std::uint64_t used) {
  Block all, more;
  Expect(UsedByCuda() == used);
  Expect(Take(Way::kLinear, kLimit - used + 1, &all) == CUDA_ERROR_OUT_OF_MEMORY);
  Expect(Take(Way::kLinear, kLimit - used, &all) == CUDA_SUCCESS);
  Expect(Take(Way::kManaged, 1, &more) == CUDA_ERROR_OUT_OF_MEMORY);
  Expect(UsedByCuda() == kLimit && UsedByNvml() == kLimit);
  Expect(Free(all) == CUDA_SUCCESS);
}

/// Milliseconds for `count` kernels of 2 ms, the cost of which is known already.
double MillisecondsFor(int count) {
  CUmodule module = nullptr;
  CUfunction kernel = nullptr;
  Expect(cuModuleLoadData(&module, "image") == CUDA_SUCCESS && cuModuleGetFunction(&kernel, module, "spin_2ms") == CUDA_SUCCESS);
  const auto launch = [&] { Expect(cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr) == CUDA_SUCCESS); };
  launch();
  Expect(cuCtxSynchronize() == CUDA_SUCCESS);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) launch();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

TEST_CASE("Where NVML hides processes or numbers them as the host does, memory is refused, contexts are charged and launches wait") {
  const std::string pids = GENERATE("hidden", "offset 100000");
  const Tenants tenants(kLimit, "device memory=16G; context 100M; host_pids " + pids + "; " + kExact);
  REQUIRE(ChangeLimits([](shm::LimitsContent& content) { content.device[0].cores_percent = 25; }));
  Puppet first([](char) {
    Start();
    ExpectLeft(kContext);
    return true;
  });
  CHECK(first.Do('a'));
  CHECK(tenants.Used() == kContext);
  CHECK(Succeeded(Child([] {
    Start();
    ExpectLeft(2 * kContext);
    nvmlDevice_t device = nullptr;
    nvmlProcessInfo_t list[4];
    unsigned count = 4;
    Expect(nvmlInit_v2() == NVML_SUCCESS && nvmlDeviceGetHandleByIndex_v2(0, &device) == NVML_SUCCESS);
    Expect(nvmlDeviceGetComputeRunningProcesses_v3(device, &count, list) == NVML_SUCCESS && count == 2);
    const auto self = static_cast<unsigned>(getpid());
    Expect((list[0].pid == self) != (list[1].pid == self));  // by their numbers here
    Expect(list[0].usedGpuMemory == kContext && list[1].usedGpuMemory == kContext);
    constexpr double kSavedMs = 10;  // GPU time that a full bucket lets pass at once
    return MillisecondsFor(40) >= (39 * 2 * 0.95 - kSavedMs) * 4;
  })));
}

TEST_CASE("A MIG instance limited by its UUID is held to the limit, and neither its sibling nor its parent is") {
  const char* const instance = "MIG-5eed0001-0000-4000-8000-000000000002";
  const Tenants tenants(kLimit, "device memory=16G; device parent=0 memory=4G; device parent=0 memory=4G; context 100M; " + kExact);
  REQUIRE(ChangeLimits([&](shm::LimitsContent& content) { std::strcpy(content.device[0].uuid, instance); }));
  setenv("CUDA_VISIBLE_DEVICES", instance, 1);
  const bool limited = Succeeded(Child([&] {
    Start();
    std::size_t total = 0;
    Expect(cuDeviceTotalMem_v2(&total, 0) == CUDA_SUCCESS && total == kLimit);
    Expect(UsedByCuda() == kContext && tenants.Used() == kContext);
    Block block, more;
    Expect(Take(Way::kLinear, kLimit - kContext + 1, &block) == CUDA_ERROR_OUT_OF_MEMORY);
    Expect(Take(Way::kLinear, kLimit - kContext, &block) == CUDA_SUCCESS &&
           Take(Way::kPhysical, 64 << 10, &more) == CUDA_ERROR_OUT_OF_MEMORY);
    nvmlDevice_t whole = nullptr, parts[2] = {};
    Expect(nvmlInit_v2() == NVML_SUCCESS && nvmlDeviceGetHandleByIndex_v2(0, &whole) == NVML_SUCCESS);
    nvmlMemory_t memory{};
    for (unsigned i = 0; i < 2; ++i) Expect(nvmlDeviceGetMigDeviceHandleByIndex(whole, i, &parts[i]) == NVML_SUCCESS);
    Expect(nvmlDeviceGetMemoryInfo(parts[0], &memory) == NVML_SUCCESS && memory.total == kLimit && memory.used == kLimit &&
           memory.free == 0);
    Expect(nvmlDeviceGetMemoryInfo(parts[1], &memory) == NVML_SUCCESS && memory.total == 4096 * kMiB && memory.used == 0);
    Expect(nvmlDeviceGetMemoryInfo(whole, &memory) == NVML_SUCCESS && memory.total == 16384 * kMiB && memory.used == kLimit);
    nvmlProcessInfo_t list[4];
    unsigned count = 4;
    Expect(nvmlDeviceGetComputeRunningProcesses_v3(parts[0], &count, list) == NVML_SUCCESS && count == 1);
    Expect(list[0].pid == static_cast<unsigned>(getpid()) && list[0].usedGpuMemory == kLimit);
    return Free(block) == CUDA_SUCCESS;
  }));
  CHECK(limited);
  setenv("CUDA_VISIBLE_DEVICES", "MIG-5eed0002-0000-4000-8000-000000000003", 1);
  const bool sibling_is_not = Succeeded(Child([] {
    Start();
    Block block;
    return Take(Way::kLinear, 2 * kLimit, &block) == CUDA_SUCCESS && Free(block) == CUDA_SUCCESS;
  }));
  CHECK(sibling_is_not);
  unsetenv("CUDA_VISIBLE_DEVICES");
}

/// Takes, and keeps, three fifths of the share.
bool TakeMost(char) {
  Start();
  Block block;
  return Take(Way::kLinear, kLimit / 5 * 3, &block) == CUDA_SUCCESS;
}

TEST_CASE("CUDA_DEVICE_MEMORY_SHARED_CACHE names the file through which processes share, and PARTAGE_USAGE goes before it") {
  const Tenants tenants(kLimit, "device memory=16G; " + kExact);
  const test::TempFolder folder;
  const std::string cache = folder.path() + "/cache", usage = std::getenv("PARTAGE_USAGE");
  const bool both = GENERATE(false, true);
  setenv("CUDA_DEVICE_MEMORY_SHARED_CACHE", cache.c_str(), 1);
  if (!both) unsetenv("PARTAGE_USAGE");
  Puppet first(TakeMost), second(TakeMost);
  CHECK(first.Do('a'));
  CHECK_FALSE(second.Do('a'));
  shm::Region region;
  REQUIRE(region.OpenReadOnly(both ? usage.c_str() : cache.c_str()) == shm::Fault::kNone);
  CHECK(region.Used(0) == kLimit / 5 * 3);
  CHECK(access(both ? cache.c_str() : usage.c_str(), F_OK) != 0);
  unsetenv("CUDA_DEVICE_MEMORY_SHARED_CACHE");
}

TEST_CASE("ACTIVE_OOM_KILLER changes nothing, the limit holds and whoever holds or asks lives on") {
  const Tenants tenants(kLimit, "device memory=16G; " + kExact);
  setenv("ACTIVE_OOM_KILLER", GENERATE("true", "1", "nonsense"), 1);
  const auto act = [](char command) { return command == '?' ? UsedByCuda() == kLimit / 5 * 3 : TakeMost(command); };
  Puppet holder(act), asker(act);
  CHECK(holder.Do('a'));
  for (int i = 0; i < 3; ++i) CHECK_FALSE(asker.Do('a'));
  usleep(300'000);  // an overseer would have had time to act
  CHECK(holder.Do('?'));
  CHECK(asker.Do('?'));
  unsetenv("ACTIVE_OOM_KILLER");
}

}  // namespace
}  // namespace partage::intercept
