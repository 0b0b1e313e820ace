// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

/// What the fake libraries export besides NVIDIA's names, for tests: `fakeCuda…` from libcuda.so.1, `fakeNvml…` from libnvidia-ml.so.1, found
/// with dlsym. Names are exported names, with their version: "cuMemAlloc_v2". Not in fast mode. Thread-safe.
inline constexpr int kFakeNothing = -1;

extern "C" {

/// Calls of the function since the start or the last reset; -1 when there is none of this name.
int64_t fakeCudaCalls(const char* name);
int64_t fakeNvmlCalls(const char* name);

/// The arguments of the last call as 64 bits each (larger ones as a hash), the first `count` into `values`. Returns how many there were; -1
/// when there is no such function.
int fakeCudaArguments(const char* name, uint64_t* values, int count);
int fakeNvmlArguments(const char* name, uint64_t* values, int count);

/// From now on the function answers `code` and does nothing, after `skip` more calls that work, `times` times (0: for ever). Code 0 ends it.
/// With kFakeNothing it answers success and does nothing. Returns 0; -1 when there is no such function.
int fakeCudaFail(const char* name, int code, uint64_t skip, uint64_t times);
int fakeNvmlFail(const char* name, int code, uint64_t skip, uint64_t times);

/// The function's own address, whatever has been done to the library's symbols; null when there is none of this name.
void* fakeCudaAddress(const char* name);

/// Forgets counts and arguments, and ends all ordered failures.
void fakeCudaReset();
void fakeNvmlReset();
}
