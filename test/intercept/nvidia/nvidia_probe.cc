// SPDX-License-Identifier: Apache-2.0
// Asks the driver that the search path leads to and prints every answer, for comparison with and without libpartage.so. Its argument says what to ask.
#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <string>

namespace {

/// "libpartage.so cuMemAlloc_v2": where a function is and its exported name there. Version numbers of file names are cut off.
std::string Place(void* address) {
  Dl_info info{};
  if (address == nullptr) return "none";
  if (dladdr(address, &info) == 0) return "unknown";
  std::string object = info.dli_fname;
  object = object.substr(object.rfind('/') + 1);
  object = object.substr(0, object.find(".so") + 3);
  return object + " " + (info.dli_sname != nullptr && info.dli_saddr == address ? info.dli_sname : "?");
}

void* g_cuda = nullptr;

template <class... Args>
int Call(void* library, const char* name, Args... args) {
  auto* const function = reinterpret_cast<int (*)(Args...)>(dlsym(library, name));
  return function != nullptr ? function(args...) : -1;
}

const char* const kNames[] = {
#define PARTAGE_CUDA_FUNCTION(ret, name, params, args, since, group) #name,
#include "intercept/api/cuda_functions.inc"
#undef PARTAGE_CUDA_FUNCTION
};

/// A name without the suffixes that tell binary interfaces apart.
std::string BaseOf(std::string name) {
  for (const char* suffix : {"_ptsz", "_ptds"}) {
    if (name.size() > 5 && name.compare(name.size() - 5, 5, suffix) == 0) name.resize(name.size() - 5);
  }
  if (name.size() > 3 && name[name.size() - 3] == '_' && name[name.size() - 2] == 'v') name.resize(name.size() - 3);
  return name;
}

/// Every base name at several versions and stream flags, by both forms of cuGetProcAddress.
int ProcAddresses() {
  std::string last;
  for (const char* name : kNames) {
    const std::string base = BaseOf(name);
    if (base == last) continue;
    last = base;
    for (const int version : {11000, 11040, 12000, 12020, 12040}) {
      for (const unsigned long long flags : {0ULL, 1ULL, 2ULL}) {
        void* function = nullptr;
        const int result = Call(g_cuda, "cuGetProcAddress", base.c_str(), &function, version, flags);
        void* again = nullptr;
        int status = -1;
        const int result2 = Call(g_cuda, "cuGetProcAddress_v2", base.c_str(), &again, version, flags, &status);
        std::printf("%s %d %llu: %d %s; %d %d %s\n", base.c_str(), version, flags, result, Place(function).c_str(), result2, status,
                    Place(again).c_str());
      }
    }
  }
  return 0;
}

const char* const kNvmlNames[] = {
#define PARTAGE_NVML_FUNCTION(ret, name, params, args, since, group) #name,
#include "intercept/api/nvml_functions.inc"
#undef PARTAGE_NVML_FUNCTION
};

int NvmlSymbols() {
  void* const nvml = dlopen("libnvidia-ml.so.1", RTLD_NOW);
  if (nvml == nullptr) return std::printf("%s\n", dlerror()), 1;
  for (const char* name : kNvmlNames) std::printf("%s: %s\n", name, Place(dlsym(nvml, name)).c_str());
  return 0;
}

int Symbols() {
  for (const char* name : kNames) std::printf("%s: %s\n", name, Place(dlsym(g_cuda, name)).c_str());
  return 0;
}

/// What can be asked without a device.
int Answers() {
  int number = -1;
  size_t free = 1;
  size_t total = 1;
  std::printf("cuInit %d\n", Call(g_cuda, "cuInit", 0U));
  std::printf("cuDriverGetVersion %d %d\n", Call(g_cuda, "cuDriverGetVersion", &number), number);
  std::printf("cuDeviceGetCount %d\n", Call(g_cuda, "cuDeviceGetCount", &number));
  std::printf("cuMemGetInfo_v2 %d\n", Call(g_cuda, "cuMemGetInfo_v2", &free, &total));
  std::printf("cuDeviceTotalMem_v2 %d\n", Call(g_cuda, "cuDeviceTotalMem_v2", &total, 0));
  unsigned long long pointer = 0;
  std::printf("cuMemAlloc_v2 %d\n", Call(g_cuda, "cuMemAlloc_v2", &pointer, size_t{4096}));
  std::printf("cuMemFree_v2 %d\n", Call(g_cuda, "cuMemFree_v2", 0x1234000ULL));
  std::printf("cuMemAllocAsync %d\n", Call(g_cuda, "cuMemAllocAsync", &pointer, size_t{4096}, static_cast<void*>(nullptr)));
  std::printf("cuCtxSynchronize %d\n", Call(g_cuda, "cuCtxSynchronize"));
  std::printf("cuLaunchKernel %d\n", Call(g_cuda, "cuLaunchKernel", static_cast<void*>(nullptr), 1U, 1U, 1U, 1U, 1U, 1U, 0U,
                                          static_cast<void*>(nullptr), static_cast<void*>(nullptr), static_cast<void*>(nullptr)));
  void* const nvml = dlopen("libnvidia-ml.so.1", RTLD_NOW);
  unsigned count = 0;
  void* device = nullptr;
  unsigned long long memory[5] = {};
  std::printf("nvmlInit_v2 %d\n", Call(nvml, "nvmlInit_v2"));
  std::printf("nvmlDeviceGetCount_v2 %d\n", Call(nvml, "nvmlDeviceGetCount_v2", &count));
  std::printf("nvmlDeviceGetMemoryInfo %d\n", Call(nvml, "nvmlDeviceGetMemoryInfo", device, memory));
  std::printf("nvmlDeviceGetComputeRunningProcesses_v3 %d\n",
              Call(nvml, "nvmlDeviceGetComputeRunningProcesses_v3", device, &count, memory));
  return 0;
}

/// The CUDA runtime given by its path finds the driver by its own ways, undocumented tables included.
int Runtime(const char* path) {
  void* const runtime = dlopen(path, RTLD_NOW);
  if (runtime == nullptr) return std::printf("%s\n", dlerror()), 0;
  int number = -1;
  size_t sizes[2] = {};
  void* pointer = nullptr;
  const int counted = Call(runtime, "cudaGetDeviceCount", &number);
  std::printf("cudaGetDeviceCount %d\n", counted);
  const int versioned = Call(runtime, "cudaDriverGetVersion", &number);
  std::printf("cudaDriverGetVersion %d %d\n", versioned, number);
  std::printf("cudaMemGetInfo %d\n", Call(runtime, "cudaMemGetInfo", &sizes[0], &sizes[1]));
  std::printf("cudaMalloc %d\n", Call(runtime, "cudaMalloc", &pointer, size_t{4096}));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "runtime") return Runtime(argv[2]);
  if (what == "nvml-symbols") return NvmlSymbols();
  g_cuda = dlopen("libcuda.so.1", RTLD_NOW);
  if (g_cuda == nullptr) return std::printf("%s\n", dlerror()), 1;
  if (what == "symbols") return Symbols();
  if (what == "proc-addresses") return ProcAddresses();
  return Answers();
}
