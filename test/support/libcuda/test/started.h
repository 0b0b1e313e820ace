// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "test/support/libcuda/client.h"

namespace partage::test {

inline constexpr size_t kMiB = 1 << 20;

/// A client of driver 550 with a context on device 0 and one module loaded.
struct Started : CudaClient {
  Started() : CudaClient(FakeDriverFile("550", "libcuda.so.1")) {
    Expect(cuInit(0) == CUDA_SUCCESS && cuCtxCreate_v2(&context, 0, 0) == CUDA_SUCCESS);
    Expect(cuModuleLoadData(&module, "any image") == CUDA_SUCCESS);
  }

  /// Device memory in use, of all processes.
  size_t Used() const {
    size_t free = 0, total = 0;
    Expect(cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS);
    return total - free;
  }

  CUfunction Function(const char* name) const {
    CUfunction function = nullptr;
    Expect(cuModuleGetFunction(&function, module, name) == CUDA_SUCCESS);
    return function;
  }

  CUresult Launch(CUfunction function, CUstream stream = nullptr, void** parameters = nullptr) const {
    return cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, stream, parameters, nullptr);
  }

  CUstream NewStream() const {
    CUstream stream = nullptr;
    Expect(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
    return stream;
  }

  CUcontext context = nullptr;
  CUmodule module = nullptr;
};

}  // namespace partage::test
