// SPDX-License-Identifier: Apache-2.0
// A CUDA program that works with whatever driver the search path leads to: uses everything that this driver has and libpartage.so limits, and ends with 1
// where the share is not what it finds. `symbols`: entry points by dlsym; `addresses`: by cuGetProcAddress, as the CUDA runtime finds them.
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "shm/region.h"
#include "test/support/libcuda/client.h"

namespace partage::test {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kShare = 256 * kMiB, kContext = 20 * kMiB, kModule = 2 * kMiB;  // as branches_test.cc sets them

/// An entry point by cuGetProcAddress: asked for by base name and the version with which exactly this interface came.
void* AddressOf(const CudaClient& cuda, std::string name, int since) {
  const auto drop = [&name](const std::string& suffix) {
    if (name.size() <= suffix.size() || name.compare(name.size() - suffix.size(), suffix.size(), suffix) != 0) return false;
    name.resize(name.size() - suffix.size());
    return true;
  };
  const bool per_thread = drop("_ptsz") || drop("_ptds");
  for (const char* version : {"_v2", "_v3", "_v4"}) drop(version);
  const cuuint64_t flags = per_thread ? CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM : 0;
  void* found = nullptr;
  Expect(cuda.cuGetProcAddress(name.c_str(), &found, since, flags) == CUDA_SUCCESS);
  void* again = found;
  if (cuda.cuGetProcAddress_v2 != nullptr) Expect(cuda.cuGetProcAddress_v2(name.c_str(), &again, since, flags, nullptr) == CUDA_SUCCESS);
  Expect(found == again);
  return found;
}

/// Replaces every entry point by what cuGetProcAddress answers, which must be no other.
void FindByAddress(CudaClient& cuda) {
  const CudaClient asked = cuda;
#define PARTAGE_CUDA_FUNCTION(result, name, parameters, arguments, since, group)       \
  if (asked.name != nullptr) {                                                         \
    cuda.name = reinterpret_cast<decltype(cuda.name)>(AddressOf(asked, #name, since)); \
    if (cuda.name != asked.name) std::fprintf(stderr, "%s: another address\n", #name); \
    Expect(cuda.name == asked.name);                                                   \
  }
#include "src/intercept/api/cuda_functions.inc"
#undef PARTAGE_CUDA_FUNCTION
}

/// A way to allocate a multiple of `unit` bytes.
struct Way {
  bool there;
  std::uint64_t unit;
  std::function<CUresult(std::uint64_t)> allocate;
  std::function<CUresult()> free;
};

class Program {
 public:
  explicit Program(bool by_address) : nvml_("libnvidia-ml.so.1") {
    Expect(nvml_.handle != nullptr && cuda_.handle != nullptr);
    if (by_address) FindByAddress(cuda_);
    Expect(cuda_.cuInit(0) == CUDA_SUCCESS && nvml_.nvmlInit_v2() == NVML_SUCCESS);
    Expect(cuda_.cuDriverGetVersion(&version_) == CUDA_SUCCESS);
    Expect(nvml_.nvmlDeviceGetHandleByIndex_v2(0, &device_) == NVML_SUCCESS);
    CUcontext context = nullptr;
    Expect(cuda_.cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS && cuda_.cuCtxSetCurrent(context) == CUDA_SUCCESS);
    Expect(usage_.OpenReadOnly(std::getenv("PARTAGE_USAGE")) == shm::Fault::kNone);
  }

  void Run() {
    size_t total = 0;
    Expect(cuda_.cuDeviceTotalMem_v2(&total, 0) == CUDA_SUCCESS && total == kShare);
    ExpectUsed(kContext);
    int ways = 0;
    for (const Way& way : Ways()) {
      if (!way.there) continue;
      Try(way);
      ++ways;
    }
    AddGraphNodes();
    LaunchKernels();
    Expect((cuda_.cuDevicePrimaryCtxRelease_v2 != nullptr ? cuda_.cuDevicePrimaryCtxRelease_v2 : cuda_.cuDevicePrimaryCtxRelease)(0) ==
           CUDA_SUCCESS);
    Expect(usage_.Used(0) == 0);
    std::printf("CUDA %d, %d ways\n", version_, ways);
  }

 private:
  /// What CUDA, NVML in each of its forms, and the usage file say.
  void ExpectUsed(std::uint64_t used) {
    size_t free = 0, total = 0;
    Expect(cuda_.cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS && total == kShare && free == kShare - used);
    nvmlMemory_t memory{};
    Expect(nvml_.nvmlDeviceGetMemoryInfo(device_, &memory) == NVML_SUCCESS && memory.total == kShare && memory.used == used);
    if (nvml_.nvmlDeviceGetMemoryInfo_v2 != nullptr) {
      nvmlMemory_v2_t second{.version = NvmlStructVersion(sizeof(second), 2)};
      Expect(nvml_.nvmlDeviceGetMemoryInfo_v2(device_, &second) == NVML_SUCCESS && second.total == kShare && second.used == used);
    }
    unsigned count = 1;
    nvmlProcessInfo_v1_t process{};
    Expect(nvml_.nvmlDeviceGetComputeRunningProcesses(device_, &count, &process) == NVML_SUCCESS && count == 1);
    Expect(process.pid == static_cast<unsigned>(getpid()) && process.usedGpuMemory == used);
    for (auto* const list : {nvml_.nvmlDeviceGetComputeRunningProcesses_v2, nvml_.nvmlDeviceGetComputeRunningProcesses_v3}) {
      nvmlProcessInfo_t newer{};
      if (list != nullptr) Expect(list(device_, &count, &newer) == NVML_SUCCESS && count == 1 && newer.usedGpuMemory == used);
    }
    Expect(usage_.Used(0) == used);
  }

  void Try(const Way& way) {
    const std::uint64_t room = kShare - kContext;
    Expect(way.allocate(room + way.unit) == CUDA_ERROR_OUT_OF_MEMORY);
    ExpectUsed(kContext);
    Expect(way.allocate(room) == CUDA_SUCCESS);
    ExpectUsed(kShare);
    Expect(way.free() == CUDA_SUCCESS && cuda_.cuCtxSynchronize() == CUDA_SUCCESS);
    ExpectUsed(kContext);
  }

  std::vector<Way> Ways() {
    const CudaClient& c = cuda_;
    const auto free = [this] { return cuda_.cuMemFree_v2(pointer_); };
    const auto create_array = [this](std::uint64_t n) {
      const CUDA_ARRAY_DESCRIPTOR descriptor{n, 0, CU_AD_FORMAT_UNSIGNED_INT8, 1};
      return cuda_.cuArrayCreate_v2(&array_, &descriptor);
    };
    const auto create = [this](std::uint64_t n) {
      const CUmemAllocationProp on_device{.type = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
      return cuda_.cuMemCreate(&handle_, n, &on_device, 0);
    };
    return {
        {c.cuMemAlloc_v2 != nullptr, 1, [this](auto n) { return cuda_.cuMemAlloc_v2(&pointer_, n); }, free},
        {c.cuMemAlloc != nullptr, 1, [this](auto n) { return cuda_.cuMemAlloc(&old_, static_cast<unsigned>(n)); },
         [this] { return cuda_.cuMemFree(old_); }},
        {c.cuMemAllocManaged != nullptr, 1, [this](auto n) { return cuda_.cuMemAllocManaged(&pointer_, n, CU_MEM_ATTACH_GLOBAL); }, free},
        {c.cuMemAllocPitch_v2 != nullptr, 512, [this](auto n) { return cuda_.cuMemAllocPitch_v2(&pointer_, &pitch_, n, 1, 4); }, free},
        {c.cuArrayCreate_v2 != nullptr, 1, create_array, [this] { return cuda_.cuArrayDestroy(array_); }},
        {c.cuMemCreate != nullptr, 2 * kMiB, create, [this] { return cuda_.cuMemRelease(handle_); }},
        {c.cuMemAllocAsync != nullptr, 2 * kMiB, [this](auto n) { return cuda_.cuMemAllocAsync(&pointer_, n, nullptr); },
         [this] { return cuda_.cuMemFreeAsync(pointer_, nullptr); }},
        {c.cuMemAllocAsync_ptsz != nullptr, 2 * kMiB, [this](auto n) { return cuda_.cuMemAllocAsync_ptsz(&pointer_, n, nullptr); },
         [this] { return cuda_.cuMemFreeAsync_ptsz(pointer_, nullptr); }},
    };
  }

  /// In each form that the driver has: one byte too much is refused, what fits is the driver's.
  void AddGraphNodes() {
    if (cuda_.cuGraphAddNode == nullptr) return;
    CUgraph graph = nullptr;
    CUgraphNode node = nullptr;
    Expect(cuda_.cuGraphCreate(&graph, 0) == CUDA_SUCCESS);
    CUgraphNodeParams much{};
    much.type = CU_GRAPH_NODE_TYPE_MEM_ALLOC;
    much.alloc.poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    much.alloc.bytesize = kShare - kContext + 1;
    CUgraphNodeParams enough = much;
    --enough.alloc.bytesize;
    Expect(cuda_.cuGraphAddNode(&node, graph, nullptr, 0, &much) == CUDA_ERROR_OUT_OF_MEMORY);
    Expect(cuda_.cuGraphAddNode(&node, graph, nullptr, 0, &enough) == CUDA_SUCCESS);
    for (auto* const add : {cuda_.cuGraphAddNode_v2, cuda_.cuGraphAddNode_v3}) {
      if (add == nullptr) continue;
      Expect(add(&node, graph, nullptr, nullptr, 0, &much) == CUDA_ERROR_OUT_OF_MEMORY);
      Expect(add(&node, graph, nullptr, nullptr, 0, &enough) == CUDA_SUCCESS);
    }
    Expect(cuda_.cuGraphDestroy(graph) == CUDA_SUCCESS);
    ExpectUsed(kContext);
  }

  /// A tenth of a second of kernels, of which the share allows a quarter of the time.
  void LaunchKernels() {
    CUmodule module = nullptr;
    CUfunction kernel = nullptr;
    Expect(cuda_.cuModuleLoadData(&module, "image") == CUDA_SUCCESS);
    ExpectUsed(kContext + kModule);
    Expect(cuda_.cuModuleGetFunction(&kernel, module, "spin_1ms") == CUDA_SUCCESS);
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 100; ++i) Expect(cuda_.cuLaunchKernel(kernel, 1, 1, 1, 32, 1, 1, 0, nullptr, nullptr, nullptr) == CUDA_SUCCESS);
    Expect(cuda_.cuCtxSynchronize() == CUDA_SUCCESS);
    Expect(std::chrono::steady_clock::now() - start > std::chrono::milliseconds(200));
    Expect(cuda_.cuModuleUnload(module) == CUDA_SUCCESS);
    ExpectUsed(kContext);
  }

  CudaClient cuda_{"libcuda.so.1"};
  NvmlClient nvml_;
  nvmlDevice_t device_ = nullptr;
  shm::Region usage_;
  int version_ = 0;
  CUdeviceptr pointer_ = 0;
  CUdeviceptr_v1 old_ = 0;
  size_t pitch_ = 0;
  CUarray array_ = nullptr;
  CUmemGenericAllocationHandle handle_ = 0;
};

}  // namespace
}  // namespace partage::test

int main(int argc, char** argv) {
  partage::test::Program(argc > 1 && std::string(argv[1]) == "addresses").Run();
  return 0;
}
