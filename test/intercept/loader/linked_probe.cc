// SPDX-License-Identifier: Apache-2.0
// A program linked with the driver, as nvcc -lcuda makes them.
#include <cstdio>

#include "intercept/api/cuda.h"

using namespace partage::intercept;

extern "C" {
CUresult cuInit(unsigned flags);
CUresult cuMemGetInfo_v2(size_t* free, size_t* total);
CUresult cuGetProcAddress(const char* symbol, void** function, int version, cuuint64_t flags);
}

int main() {
  size_t free = 0;
  size_t total = 0;
  cuInit(0);
  cuMemGetInfo_v2(&free, &total);
  std::printf("linked %zu\n", total >> 20);
  void* function = nullptr;
  cuGetProcAddress("cuMemGetInfo", &function, 12000, 0);
  reinterpret_cast<CUresult (*)(size_t*, size_t*)>(function)(&free, &total);
  std::printf("looked-up %zu\n", total >> 20);
}
