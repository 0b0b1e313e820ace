// SPDX-License-Identifier: Apache-2.0
// CUDA 2's interface, which drivers still export: sizes of 32 bits.
#include <catch2/catch.hpp>

#include <cstdint>
#include <cstring>

#include "shm/limits.h"
#include "test/support/libcuda/client.h"
#include "test/support/temp_folder.h"

namespace partage::intercept {

extern "C" CUresult cuInit(unsigned flags);
extern "C" CUresult cuCtxCreate_v2(CUcontext* context, unsigned flags, CUdevice device);
extern "C" CUresult cuMemGetInfo(unsigned* free, unsigned* total);
extern "C" CUresult cuDeviceTotalMem(unsigned* bytes, CUdevice device);
extern "C" CUresult cuMemAlloc(CUdeviceptr_v1* pointer, unsigned bytes);
extern "C" CUresult cuMemFree(CUdeviceptr_v1 pointer);

namespace {

using test::Child;
using test::Expect;

constexpr unsigned kMiB = 1U << 20;

Child::Environment With(const test::TempFolder& folder, const std::string& share) {
  return {{"CUDA_DEVICE_MEMORY_LIMIT", share}, {"PARTAGE_USAGE", folder.path() + "/usage"}, {"FAKE_CUDA", "device memory=16G"}};
}

struct Told {
  unsigned free = 0, total = 0, of_device = 0;
};

Told Ask() {
  Told told;
  Expect(cuMemGetInfo(&told.free, &told.total) == CUDA_SUCCESS);
  Expect(cuDeviceTotalMem(&told.of_device, 0) == CUDA_SUCCESS);
  return told;
}

}  // namespace

TEST_CASE("The old interface tells the share too, and takes a null output as the new one does") {
  const test::TempFolder folder;
  CHECK(Child(With(folder, "1g"), [] {
          CUcontext context = nullptr;
          CUdeviceptr_v1 pointer = 0;
          Expect(cuInit(0) == CUDA_SUCCESS && cuCtxCreate_v2(&context, 0, 0) == CUDA_SUCCESS);
          Expect(cuMemAlloc(&pointer, 100 * kMiB) == CUDA_SUCCESS);
          const Told told = Ask();
          Expect(told.total == 1024 * kMiB && told.of_device == 1024 * kMiB && told.free == 924 * kMiB);
          unsigned free = 0, total = 0;
          Expect(cuMemGetInfo(&free, nullptr) == CUDA_SUCCESS && free == told.free);
          Expect(cuMemGetInfo(nullptr, &total) == CUDA_SUCCESS && total == told.total);
          Expect(cuDeviceTotalMem(nullptr, 0) == CUDA_ERROR_INVALID_VALUE);
          Expect(cuMemFree(pointer) == CUDA_SUCCESS && Ask().free == 1024 * kMiB);
        }).Good());
}

TEST_CASE("A share beyond 4 GiB reads as the most that 32 bits can say, not as what is left of it above them") {
  const test::TempFolder folder;
  // Larger than the device, so that the driver's own narrow figures do not bound it.
  shm::LimitsContent content;
  content.devices = 1;
  std::strcpy(content.device[0].uuid, "GPU-5eed0000-0000-4000-8000-000000000001");
  content.device[0].memory_bytes = std::uint64_t{20} << 30;
  content.device[0].flags = shm::kOversubscribe;
  REQUIRE(shm::WriteLimits((folder.path() + "/limits").c_str(), content) == shm::Fault::kNone);
  for (const Child::Environment& shares :
       {Child::Environment{{"CUDA_DEVICE_MEMORY_LIMIT", "5g"}}, {{"PARTAGE_LIMITS", folder.path() + "/limits"}}}) {
    Child::Environment environment = shares;
    environment.insert({{"PARTAGE_USAGE", folder.path() + "/usage"}, {"FAKE_CUDA", "device memory=16G"}});
    CHECK(Child(environment, [] {
            CUcontext context = nullptr;
            Expect(cuInit(0) == CUDA_SUCCESS && cuCtxCreate_v2(&context, 0, 0) == CUDA_SUCCESS);
            const Told told = Ask();
            Expect(told.total == UINT32_MAX && told.of_device == UINT32_MAX && told.free == UINT32_MAX);
          }).Good());
  }
}

}  // namespace partage::intercept
