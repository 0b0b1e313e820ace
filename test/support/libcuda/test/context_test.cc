// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <string>

#include "test/support/libcuda/client.h"

namespace partage::test {
namespace {

constexpr const char* kThree =
    "device uuid=GPU-aaaaaaaa-0000-4000-8000-000000000001 memory=1G pci=00000000:10:00.0;"
    "device uuid=GPU-aaaabbbb-0000-4000-8000-000000000002 memory=2G pci=00000000:20:00.0;"
    "device uuid=GPU-cccccccc-0000-4000-8000-000000000003 memory=3G pci=00000000:30:00.0;"
    "cuda_order 2 0 1; context 100M";

std::string Cuda() { return FakeDriverFile("550", "libcuda.so.1"); }

/// The devices' sizes in GiB in CUDA's order, as digits.
std::string Order(const CudaClient& cuda) {
  std::string order;
  int count = 0;
  if (cuda.cuInit(0) != CUDA_SUCCESS || cuda.cuDeviceGetCount(&count) != CUDA_SUCCESS) return "none";
  for (int i = 0; i < count; ++i) {
    size_t bytes = 0;
    Expect(cuda.cuDeviceTotalMem_v2(&bytes, i) == CUDA_SUCCESS);
    order += std::to_string(bytes >> 30);
  }
  return order;
}

bool Shows(const std::string& variable, const std::string& value, const std::string& order) {
  Child child({{"FAKE_CUDA", kThree}, {variable, value}}, [&] { Expect(Order(CudaClient(Cuda())) == order); });
  return child.Good();
}

TEST_CASE("CUDA counts devices in its own order, or by PCI address where told so") {
  CHECK(Shows("IGNORED", "", "312"));
  CHECK(Shows("CUDA_DEVICE_ORDER", "PCI_BUS_ID", "123"));
}

TEST_CASE("CUDA_VISIBLE_DEVICES chooses by index, UUID or the beginning of one, up to the first that names none") {
  CHECK(Shows("CUDA_VISIBLE_DEVICES", "1,0", "13"));
  CHECK(Shows("CUDA_VISIBLE_DEVICES", "GPU-aaaabbbb-0000-4000-8000-000000000002", "2"));
  CHECK(Shows("CUDA_VISIBLE_DEVICES", "GPU-cccc,GPU-aaaabb", "32"));
  CHECK(Shows("CUDA_VISIBLE_DEVICES", "0,7,1", "3"));
  CHECK(Shows("CUDA_VISIBLE_DEVICES", "GPU-aaaa", "none"));
  CHECK(Shows("CUDA_VISIBLE_DEVICES", "1,1", "none"));
  CHECK(Shows("CUDA_VISIBLE_DEVICES", "", "none"));
}

TEST_CASE("Of a device with MIG instances CUDA sees one instance") {
  const char* mig =
      "device memory=8G; device parent=0 uuid=MIG-11111111-0000-4000-8000-000000000001 memory=1G; device parent=0 "
      "uuid=MIG-22222222-0000-4000-8000-000000000002 memory=2G";
  for (const auto& [wanted, order] : {std::pair{"MIG-2222", "2"}, {"0", "1"}, {"0,1", "1"}}) {
    Child child({{"FAKE_CUDA", mig}, {"CUDA_VISIBLE_DEVICES", wanted}}, [&] { Expect(Order(CudaClient(Cuda())) == order); });
    CHECK(child.Good());
  }
}

TEST_CASE("Nothing works before cuInit or without a context, with the driver's own codes") {
  Child child({}, [] {
    const CudaClient cuda(Cuda());
    CUdeviceptr pointer = 0;
    int count = 0;
    Expect(cuda.cuDeviceGetCount(&count) == CUDA_ERROR_NOT_INITIALIZED);
    Expect(cuda.cuMemAlloc_v2(&pointer, 1) == CUDA_ERROR_NOT_INITIALIZED);
    Expect(cuda.cuInit(0) == CUDA_SUCCESS && cuda.cuMemAlloc_v2(&pointer, 1) == CUDA_ERROR_INVALID_CONTEXT);
  });
  CHECK(child.Good());
}

TEST_CASE("The primary context takes memory once, and gives back everything with its last hold") {
  Child child({{"FAKE_CUDA", kThree}}, [] {
    const CudaClient cuda(Cuda());
    CUcontext context = nullptr, again = nullptr;
    CUdeviceptr pointer = 0;
    size_t free = 0, total = 0;
    Expect(cuda.cuInit(0) == CUDA_SUCCESS);
    Expect(cuda.cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS && cuda.cuDevicePrimaryCtxRetain(&again, 0) == CUDA_SUCCESS);
    Expect(context == again && cuda.cuCtxSetCurrent(context) == CUDA_SUCCESS);
    Expect(cuda.cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS && total - free == 100 << 20);
    Expect(cuda.cuMemAlloc_v2(&pointer, 1 << 20) == CUDA_SUCCESS);
    Expect(cuda.cuDevicePrimaryCtxRelease_v2(0) == CUDA_SUCCESS && cuda.cuMemFree_v2(pointer) == CUDA_SUCCESS);
    Expect(cuda.cuMemAlloc_v2(&pointer, 1 << 20) == CUDA_SUCCESS && cuda.cuDevicePrimaryCtxRelease_v2(0) == CUDA_SUCCESS);
    Expect(cuda.cuMemGetInfo_v2(&free, &total) == CUDA_ERROR_CONTEXT_IS_DESTROYED);
    Expect(cuda.cuCtxCreate_v2(&context, 0, 0) == CUDA_SUCCESS);
    Expect(cuda.cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS && total - free == 100 << 20);
  });
  CHECK(child.Good());
}

TEST_CASE("CUDA does not survive a fork, but works in a child whose parent never started it") {
  Child child({}, [] {
    const CudaClient cuda(Cuda());
    Child before({}, [&] { Expect(cuda.cuInit(0) == CUDA_SUCCESS); });
    Expect(before.Good() && cuda.cuInit(0) == CUDA_SUCCESS);
    Child after({}, [&] {
      int count = 0;
      Expect(cuda.cuInit(0) == CUDA_ERROR_NOT_INITIALIZED && cuda.cuDeviceGetCount(&count) == CUDA_ERROR_NOT_INITIALIZED);
    });
    Expect(after.Good());
  });
  CHECK(child.Good());
}

}  // namespace
}  // namespace partage::test
