// SPDX-License-Identifier: Apache-2.0
// A libcuda.so.1 of a few functions, to be found by the loader in every way there is. Its one device has 8 GiB, of which 7 are free.
#include <string.h>

#include "intercept/api/cuda.h"

using namespace partage::intercept;

extern "C" {

CUresult cuGetProcAddress(const char* symbol, void** function, int version, cuuint64_t flags);
CUresult cuGetProcAddress_v2(const char* symbol, void** function, int version, cuuint64_t flags, CUdriverProcAddressQueryResult* status);

CUresult cuInit(unsigned) { return CUDA_SUCCESS; }

CUresult cuDriverGetVersion(int* version) {
  *version = 12040;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice* device) {
  *device = 0;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int* count) {
  *count = 1;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice) {
  memset(uuid->bytes, 0xab, sizeof(uuid->bytes));
  return CUDA_SUCCESS;
}

CUresult cuMemGetInfo_v2(size_t* free, size_t* total) {
  *free = 7ULL << 30;
  *total = 8ULL << 30;
  return CUDA_SUCCESS;
}

CUresult cuMemGetInfo(unsigned* free, unsigned* total) {
  *free = *total = ~0U;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext* context) {
  static int only = 0;
  *context = reinterpret_cast<CUcontext>(&only);
  return CUDA_SUCCESS;
}

/// It never runs out, and gives no address twice: what is refused, somebody else refused.
CUresult cuMemAlloc_v2(CUdeviceptr* pointer, size_t bytes) {
  static CUdeviceptr next = CUdeviceptr{1} << 40;
  *pointer = __atomic_fetch_add(&next, (bytes + 511) / 512 * 512, __ATOMIC_RELAXED);
  return CUDA_SUCCESS;
}

CUresult cuMemFree_v2(CUdeviceptr) { return CUDA_SUCCESS; }

/// Which copy of this library answers: a copy counts its own calls.
int toyCalls() {
  static int calls = 0;
  return ++calls;
}

// What a driver answers: an address of its own by base name and version; null and success for a name it does not know.
static void* AddressFor(const char* symbol, int version) {
  const auto is = [symbol](const char* name) { return strcmp(symbol, name) == 0; };
  if (is("cuMemGetInfo")) return version >= 3020 ? reinterpret_cast<void*>(&cuMemGetInfo_v2) : reinterpret_cast<void*>(&cuMemGetInfo);
  if (is("cuDriverGetVersion")) return reinterpret_cast<void*>(&cuDriverGetVersion);
  if (is("cuGetProcAddress"))
    return version >= 12000 ? reinterpret_cast<void*>(&cuGetProcAddress_v2) : reinterpret_cast<void*>(&cuGetProcAddress);
  return nullptr;
}

CUresult cuGetProcAddress(const char* symbol, void** function, int version, cuuint64_t) {
  *function = AddressFor(symbol, version);
  return CUDA_SUCCESS;
}

CUresult cuGetProcAddress_v2(const char* symbol, void** function, int version, cuuint64_t, CUdriverProcAddressQueryResult* status) {
  *function = AddressFor(symbol, version);
  if (status != nullptr) *status = *function != nullptr ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return CUDA_SUCCESS;
}

}  // extern "C"
