// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <cstring>

#include "test/support/libcuda/client.h"

namespace partage::test {
namespace {

void* Ask(const CudaClient& cuda, const char* name, int version, cuuint64_t flags) {
  void* found = nullptr;
  Expect(cuda.cuGetProcAddress_v2(name, &found, version, flags, nullptr) == CUDA_SUCCESS);
  return found;
}

template <class Function>
void* Address(Function* function) {
  return reinterpret_cast<void*>(function);
}

TEST_CASE("A driver has the entry points of its age and no younger ones") {
  Child child({}, [] {
    const CudaClient old(FakeDriverFile("440", "libcuda.so.1"));
    Expect(old.cuMemCreate != nullptr && old.cuMemAllocAsync == nullptr && old.cuGetProcAddress == nullptr);
    int version = 0;
    Expect(old.cuDriverGetVersion(&version) == CUDA_SUCCESS && version == 10020);
    const CudaClient middle(FakeDriverFile("470", "libcuda.so.1"));
    Expect(middle.cuGetProcAddress != nullptr && middle.cuGetProcAddress_v2 == nullptr && middle.cuMemAllocAsync != nullptr);
    const CudaClient fresh(FakeDriverFile("580", "libcuda.so.1"));
    Expect(fresh.cuCtxCreate_v4 != nullptr && fresh.cuLibraryLoadData != nullptr);
    const NvmlClient nvml(FakeDriverFile("450", "libnvidia-ml.so.1"));
    Expect(nvml.nvmlDeviceGetMemoryInfo != nullptr && nvml.nvmlDeviceGetMemoryInfo_v2 == nullptr);
  });
  CHECK(child.Good());
}

TEST_CASE("cuGetProcAddress answers before cuInit, by version and by stream flag") {
  Child child({}, [] {
    const CudaClient cuda(FakeDriverFile("550", "libcuda.so.1"));
    Expect(Ask(cuda, "cuMemAlloc", 12000, 0) == Address(cuda.cuMemAlloc_v2));
    Expect(Ask(cuda, "cuMemAlloc", 3010, 0) == Address(cuda.cuMemAlloc));
    Expect(Ask(cuda, "cuMemAdvise", 12010, 0) == Address(cuda.cuMemAdvise));
    Expect(Ask(cuda, "cuMemAdvise", 12020, 0) == Address(cuda.cuMemAdvise_v2));
    Expect(Ask(cuda, "cuLaunchKernel", 11040, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) == Address(cuda.cuLaunchKernel_ptsz));
    Expect(Ask(cuda, "cuGetProcAddress", 11040, 0) == Address(cuda.cuGetProcAddress));
    Expect(Ask(cuda, "cuGetProcAddress", 12000, 0) == Address(cuda.cuGetProcAddress_v2));
    CUdriverProcAddressQueryResult status{};
    void* found = &status;
    Expect(cuda.cuGetProcAddress_v2("cuNothing", &found, 12000, 0, &status) == CUDA_SUCCESS);
    Expect(found == nullptr && status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    Expect(cuda.cuGetProcAddress_v2("cuMemAllocAsync", &found, 11010, 0, &status) == CUDA_SUCCESS);
    Expect(found == nullptr && status == CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
  });
  CHECK(child.Good());
}

TEST_CASE("Calls are counted with their arguments, and fail when and as often as a test orders") {
  Child child({{"FAKE_CUDA", "fail cuCtxSynchronize 719 skip=1 times=2"}}, [] {
    const CudaClient cuda(FakeDriverFile("550", "libcuda.so.1"));
    CUcontext context = nullptr;
    CUdeviceptr pointer = 0;
    Expect(cuda.cuInit(0) == CUDA_SUCCESS && cuda.cuCtxCreate_v2(&context, 0, 0) == CUDA_SUCCESS);
    Expect(cuda.cuMemAlloc_v2(&pointer, 4097) == CUDA_SUCCESS);
    uint64_t arguments[2] = {};
    Expect(cuda.calls("cuMemAlloc_v2") == 1 && cuda.calls("cuMemFree_v2") == 0 && cuda.calls("cuNothing") == -1);
    Expect(cuda.arguments("cuMemAlloc_v2", arguments, 2) == 2 && arguments[0] == reinterpret_cast<uint64_t>(&pointer) &&
           arguments[1] == 4097);
    const CUresult expected[] = {CUDA_SUCCESS, CUDA_ERROR_LAUNCH_FAILED, CUDA_ERROR_LAUNCH_FAILED, CUDA_SUCCESS};
    for (const CUresult result : expected) Expect(cuda.cuCtxSynchronize() == result);
    Expect(cuda.fail("cuMemFree_v2", CUDA_ERROR_UNKNOWN, 0, 0) == 0);
    Expect(cuda.cuMemFree_v2(pointer) == CUDA_ERROR_UNKNOWN && cuda.cuMemFree_v2(pointer) == CUDA_ERROR_UNKNOWN);
    cuda.reset();
    Expect(cuda.cuMemFree_v2(pointer) == CUDA_SUCCESS && cuda.calls("cuMemFree_v2") == 1);
  });
  CHECK(child.Good());
}

TEST_CASE("A profile with a mistake ends the process instead of meaning something else") {
  Child child({{"FAKE_CUDA", "contxt 300M"}}, [] {
    (void)!freopen("/dev/null", "w", stderr);
    CudaClient(FakeDriverFile("550", "libcuda.so.1")).cuInit(0);
  });
  CHECK_FALSE(child.Good());
}

TEST_CASE("In fast mode calls still hand out addresses that nobody else has") {
  Child child({{"FAKE_CUDA", "fast"}}, [] {
    const CudaClient cuda(FakeDriverFile("550", "libcuda.so.1"));
    CUcontext context = nullptr;
    CUdeviceptr first = 0, second = 0;
    Expect(cuda.cuInit(0) == CUDA_SUCCESS && cuda.cuCtxCreate_v2(&context, 0, 0) == CUDA_SUCCESS);
    Expect(cuda.cuMemAlloc_v2(&first, 1000) == CUDA_SUCCESS && cuda.cuMemAlloc_v2(&second, 1) == CUDA_SUCCESS);
    Expect(first != 0 && second >= first + 1000);
    Expect(cuda.calls("cuMemAlloc_v2") == 0);
  });
  CHECK(child.Good());
}

}  // namespace
}  // namespace partage::test
