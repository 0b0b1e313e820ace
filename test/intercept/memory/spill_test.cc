// SPDX-License-Identifier: Apache-2.0
// Shares larger than the device.
#include <catch2/catch.hpp>

#include "shm/limits.h"
#include "test/intercept/memory/gpu.h"
#include "test/intercept/memory/tenants.h"

namespace partage::intercept {
namespace {

constexpr std::uint64_t kLimit = 128 * kMiB;
constexpr std::uint64_t kBlock = 48 * kMiB;
const std::string kProfile = "device memory=64M";

TEST_CASE("A share that may be larger than the device spills to managed memory, up to the share") {
  const Tenants tenants(kLimit, kProfile, shm::kOversubscribe);
  CHECK(Succeeded(Child([&] {
    Start();
    CUdeviceptr first = 0, second = 0, third = 0;
    unsigned managed[2] = {};
    const bool allocated = cuMemAlloc_v2(&first, kBlock) == CUDA_SUCCESS && cuMemAlloc_v2(&second, kBlock) == CUDA_SUCCESS &&
                           cuMemAlloc_v2(&third, kBlock) == CUDA_ERROR_OUT_OF_MEMORY && tenants.Used() == 2 * kBlock;
    cuPointerGetAttribute(&managed[0], CU_POINTER_ATTRIBUTE_IS_MANAGED, first);
    cuPointerGetAttribute(&managed[1], CU_POINTER_ATTRIBUTE_IS_MANAGED, second);
    std::size_t free = 0, total = 0;
    const bool honest = cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS && total == kLimit && free == kLimit - 2 * kBlock;
    const bool freed = cuMemFree_v2(second) == CUDA_SUCCESS && cuMemFree_v2(first) == CUDA_SUCCESS && tenants.Used() == 0;
    return allocated && honest && managed[0] == 0 && managed[1] == 1 && freed;
  })));
}

TEST_CASE("All reports of a share that spills agree on it at any fill") {
  const Tenants tenants(kLimit, kProfile, shm::kOversubscribe);
  CHECK(Succeeded(Child([&] {
    Start();
    const auto agree = [&](std::uint64_t used) {
      std::size_t free = 0, total = 0, device_total = 0;
      return cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS && cuDeviceTotalMem_v2(&device_total, 0) == CUDA_SUCCESS &&
             tenants.Used() == used && total == kLimit && device_total == kLimit && free == kLimit - used;
    };
    bool good = agree(0);
    std::uint64_t used = 0;
    for (const std::uint64_t mib : {48, 48, 28, 4}) {
      CUdeviceptr pointer = 0;
      used += mib * kMiB;
      good = good && cuMemAlloc_v2(&pointer, mib * kMiB) == CUDA_SUCCESS && agree(used);
    }
    return good;
  })));
}

TEST_CASE("Without leave to, a share never spills: a full device refuses, and the charge is given back") {
  const Tenants tenants(kLimit, kProfile);
  CHECK(Succeeded(Child([&] {
    Start();
    CUdeviceptr first = 0, second = 0;
    return cuMemAlloc_v2(&first, kBlock) == CUDA_SUCCESS && cuMemAlloc_v2(&second, kBlock) == CUDA_ERROR_OUT_OF_MEMORY &&
           tenants.Used() == kBlock && cuMemFree_v2(first) == CUDA_SUCCESS;
  })));
}

}  // namespace
}  // namespace partage::intercept
