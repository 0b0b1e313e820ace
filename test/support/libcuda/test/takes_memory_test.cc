// SPDX-License-Identifier: Apache-2.0
// What else takes device memory: CUDA 2's interface, the heap of kernels, graphs that are uploaded.
#include <catch2/catch.hpp>

#include "test/support/libcuda/test/started.h"

namespace partage::test {
namespace {

const Child::Environment kSmall = {{"FAKE_CUDA", "device memory=64M"}};

TEST_CASE("The old interface gives addresses of 32 bits that copies reach, takes memory from the device and gives it back") {
  Child child(kSmall, [] {
    const Started cuda;
    CUdeviceptr_v1 linear = 0, pitched = 0;
    unsigned pitch = 0;
    Expect(cuda.cuMemAlloc(&linear, 1000) == CUDA_SUCCESS && cuda.Used() == 1024);
    Expect(cuda.cuMemAllocPitch(&pitched, &pitch, 100, 10, 4) == CUDA_SUCCESS && pitch == 512 && cuda.Used() == 1024 + 5120);
    char back[4] = {};
    Expect(cuda.cuMemcpyHtoD_v2(linear + 8, "abc", 4) == CUDA_SUCCESS && cuda.cuMemcpyDtoH_v2(back, linear + 8, 4) == CUDA_SUCCESS);
    Expect(std::string(back) == "abc");
    Expect(cuda.cuMemFree(linear) == CUDA_SUCCESS && cuda.cuMemFree_v2(pitched) == CUDA_SUCCESS);
    CUarray plain = nullptr, deep = nullptr;
    const CUDA_ARRAY_DESCRIPTOR_v1 shape{1024, 1024, CU_AD_FORMAT_FLOAT, 1};
    const CUDA_ARRAY3D_DESCRIPTOR_v1 shape_3d{256, 256, 8, CU_AD_FORMAT_HALF, 2, 0};
    Expect(cuda.cuArrayCreate(&plain, &shape) == CUDA_SUCCESS && cuda.Used() == 4 * kMiB);
    Expect(cuda.cuArray3DCreate(&deep, &shape_3d) == CUDA_SUCCESS && cuda.Used() == 6 * kMiB);
    Expect(cuda.cuArrayDestroy(plain) == CUDA_SUCCESS && cuda.cuArrayDestroy(deep) == CUDA_SUCCESS && cuda.Used() == 0);
    unsigned free = 0, total = 0, of_device = 0;
    Expect(cuda.cuMemGetInfo(&free, &total) == CUDA_SUCCESS && free == 64 * kMiB && total == free);
    Expect(cuda.cuDeviceTotalMem(&of_device, 0) == CUDA_SUCCESS && of_device == total);
    Expect(cuda.cuMemAlloc(&linear, 64 * kMiB + 1) == CUDA_ERROR_OUT_OF_MEMORY && cuda.cuMemAlloc(nullptr, 1) == CUDA_ERROR_INVALID_VALUE);
  });
  CHECK(child.Good());
}

TEST_CASE("The heap of kernels takes what it grows by, shrinks, and goes with its context") {
  Child child(kSmall, [] {
    const Started cuda;
    size_t usual = 0;
    Expect(cuda.cuCtxGetLimit(&usual, CU_LIMIT_MALLOC_HEAP_SIZE) == CUDA_SUCCESS && cuda.Used() == 0);
    Expect(cuda.cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, usual + 8 * kMiB) == CUDA_SUCCESS && cuda.Used() == 8 * kMiB);
    Expect(cuda.cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, usual + 65 * kMiB) == CUDA_ERROR_OUT_OF_MEMORY && cuda.Used() == 8 * kMiB);
    Expect(cuda.cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, usual + kMiB) == CUDA_SUCCESS && cuda.Used() == kMiB);
    CUcontext other = nullptr;
    Expect(cuda.cuCtxCreate_v2(&other, 0, 0) == CUDA_SUCCESS && cuda.cuCtxDestroy_v2(cuda.context) == CUDA_SUCCESS && cuda.Used() == 0);
  });
  CHECK(child.Good());
}

TEST_CASE("An uploaded graph has the memory of its next run, and a trim takes it back") {
  Child child(kSmall, [] {
    const Started cuda;
    CUgraph graph = nullptr;
    CUgraphNode first = nullptr, second = nullptr;
    CUgraphExec exec = nullptr;
    CUDA_MEM_ALLOC_NODE_PARAMS parameters{};
    parameters.bytesize = 3 * kMiB;
    Expect(cuda.cuGraphCreate(&graph, 0) == CUDA_SUCCESS);
    Expect(cuda.cuGraphAddMemAllocNode(&first, graph, nullptr, 0, &parameters) == CUDA_SUCCESS);
    Expect(cuda.cuGraphAddMemFreeNode(&second, graph, &first, 1, parameters.dptr) == CUDA_SUCCESS);
    Expect(cuda.cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS && cuda.Used() == 0);
    Expect(cuda.cuGraphUpload(exec, nullptr) == CUDA_SUCCESS && cuda.Used() == 4 * kMiB);
    Expect(cuda.cuGraphLaunch(exec, nullptr) == CUDA_SUCCESS && cuda.Used() == 4 * kMiB);
    Expect(cuda.cuCtxSynchronize() == CUDA_SUCCESS && cuda.cuDeviceGraphMemTrim(0) == CUDA_SUCCESS && cuda.Used() == 0);
  });
  CHECK(child.Good());
}

}  // namespace
}  // namespace partage::test
