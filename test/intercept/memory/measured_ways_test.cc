// SPDX-License-Identifier: Apache-2.0
// What holds for everything whose cost no call says, so that it is measured: contexts, modules, libraries, the heap of kernels, graphs that are uploaded.
#include <catch2/catch.hpp>
#include <functional>
#include <vector>

#include "test/intercept/memory/gpu.h"
#include "test/intercept/memory/graph.h"
#include "test/support/libcuda/control.h"

namespace partage::intercept {
namespace {

using shm::MemoryClass;

/// One way by which the driver takes `cost` bytes for itself, and lets go of them again.
struct Way {
  std::string name;  // of the driver's function
  MemoryClass kind;
  std::uint64_t cost;
  std::function<CUresult()> take;
  std::function<CUresult()> give;
};

CUcontext context;
CUmodule module_;
CUlibrary library;

CUresult DestroyContext() { return cuCtxDestroy_v2(context); }
CUresult Unload() { return cuModuleUnload(module_); }
CUresult UnloadLibrary() { return cuLibraryUnload(library); }

std::vector<Way> ContextWays() {
  constexpr MemoryClass kKind = MemoryClass::kContext;
  static CUctxCreateParams parameters{};
  return {
      {"cuCtxCreate", kKind, Gpu::kContext, [] { return cuCtxCreate(&context, 0, 0); }, [] { return cuCtxDestroy(context); }},
      {"cuCtxCreate_v2", kKind, Gpu::kContext, [] { return cuCtxCreate_v2(&context, 0, 0); }, DestroyContext},
      {"cuCtxCreate_v3", kKind, Gpu::kContext, [] { return cuCtxCreate_v3(&context, nullptr, 0, 0, 0); }, DestroyContext},
      {"cuCtxCreate_v4", kKind, Gpu::kContext, [] { return cuCtxCreate_v4(&context, &parameters, 0, 0); }, DestroyContext},
  };
}

std::vector<Way> ModuleWays() {
  constexpr MemoryClass kKind = MemoryClass::kModule;
  const auto from_data = [] { return cuLibraryLoadData(&library, "image", nullptr, nullptr, 0, nullptr, nullptr, 0); };
  const auto from_file = [] { return cuLibraryLoadFromFile(&library, "file", nullptr, nullptr, 0, nullptr, nullptr, 0); };
  return {
      {"cuModuleLoad", kKind, Gpu::kModule, [] { return cuModuleLoad(&module_, "file"); }, Unload},
      {"cuModuleLoadData", kKind, Gpu::kModule, [] { return cuModuleLoadData(&module_, "image"); }, Unload},
      {"cuModuleLoadDataEx", kKind, Gpu::kModule, [] { return cuModuleLoadDataEx(&module_, "image", 0, nullptr, nullptr); }, Unload},
      {"cuModuleLoadFatBinary", kKind, Gpu::kModule, [] { return cuModuleLoadFatBinary(&module_, "image"); }, Unload},
      {"cuLibraryLoadData", kKind, Gpu::kModule, from_data, UnloadLibrary},
      {"cuLibraryLoadFromFile", kKind, Gpu::kModule, from_file, UnloadLibrary},
  };
}

std::vector<Way> AllWays() {
  Gpu::Get();
  std::vector<Way> all = ContextWays();
  for (const Way& way : ModuleWays()) all.push_back(way);
  return all;
}

/// Memory in use on the device, whoever it was charged to.
std::uint64_t Physical() {
  const std::uint64_t charged = Gpu::Get().Used();
  std::size_t free = 0, total = 0;
  auto* const ask = reinterpret_cast<decltype(&cuMemGetInfo_v2)>(fakeCudaAddress("cuMemGetInfo_v2"));
  REQUIRE(ask(&free, &total) == CUDA_SUCCESS);
  CHECK(Gpu::Get().Used() == charged);
  return total - free;
}

/// Leaves `bytes` of the share free while in scope.
class AllBut {
 public:
  explicit AllBut(std::uint64_t bytes) { REQUIRE(cuMemAlloc_v2(&pointer_, Gpu::Get().Room() - bytes) == CUDA_SUCCESS); }
  ~AllBut() { cuMemFree_v2(pointer_); }
  AllBut(const AllBut&) = delete;
  AllBut& operator=(const AllBut&) = delete;

 private:
  CUdeviceptr pointer_ = 0;
};

TEST_CASE("What contexts, modules and libraries take is charged under its own kind, and given back with them") {
  Gpu& gpu = Gpu::Get();
  for (const Way& way : AllWays()) {
    INFO(way.name);
    const std::uint64_t base = gpu.Used(), of_kind = gpu.Used(way.kind), physical = Physical();
    REQUIRE(way.take() == CUDA_SUCCESS);
    CHECK(gpu.Used() == base + way.cost);
    CHECK(gpu.Used(way.kind) == of_kind + way.cost);
    REQUIRE(way.give() == CUDA_SUCCESS);
    CHECK(gpu.Used() == base);
    CHECK(Physical() == physical);
  }
}

TEST_CASE("They fit into exactly the room they need, and with one byte less are refused and leave nothing on the device") {
  Gpu& gpu = Gpu::Get();
  for (const Way& way : AllWays()) {
    INFO(way.name);
    {
      const AllBut room(way.cost);
      CHECK(way.take() == CUDA_SUCCESS);
      CHECK(gpu.Room() == 0);
      CHECK(way.give() == CUDA_SUCCESS);
    }
    const AllBut room(way.cost - 1);
    const std::uint64_t base = gpu.Used(), physical = Physical();
    CHECK(way.take() == CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(gpu.Used() == base);
    CHECK(Physical() == physical);
  }
}

TEST_CASE("The driver's refusal to make them is handed on and not charged") {
  Gpu& gpu = Gpu::Get();
  for (const Way& way : AllWays()) {
    INFO(way.name);
    const std::uint64_t base = gpu.Used();
    for (const CUresult code : {CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_INVALID_IMAGE, CUDA_ERROR_NOT_SUPPORTED}) {
      const Failing failing(way.name, code);
      CHECK(way.take() == code);
      CHECK(gpu.Used() == base);
    }
  }
}

TEST_CASE("A heap that grows is charged to its context, or put back to its old size where it does not fit") {
  Gpu& gpu = Gpu::Get();
  CUcontext own = nullptr;
  const std::uint64_t before = gpu.Used();
  REQUIRE(cuCtxCreate_v2(&own, 0, 0) == CUDA_SUCCESS);
  const std::uint64_t base = gpu.Used(), physical = Physical();
  std::size_t usual = 0, size = 0;
  REQUIRE(cuCtxGetLimit(&usual, CU_LIMIT_MALLOC_HEAP_SIZE) == CUDA_SUCCESS);
  {
    const AllBut room(64 * kMiB - 1);
    CHECK(cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, usual + 64 * kMiB) == CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(gpu.Room() == 64 * kMiB - 1);
    CHECK(cuCtxGetLimit(&size, CU_LIMIT_MALLOC_HEAP_SIZE) == CUDA_SUCCESS);
    CHECK(size == usual);
  }
  CHECK(Physical() == physical);
  {
    const Failing failing("cuCtxSetLimit", CUDA_ERROR_UNSUPPORTED_LIMIT);
    CHECK(cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, usual + 64 * kMiB) == CUDA_ERROR_UNSUPPORTED_LIMIT);
    CHECK(gpu.Used() == base);
  }
  {
    const AllBut room(64 * kMiB);
    CHECK(cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, usual + 64 * kMiB) == CUDA_SUCCESS);
    CHECK(gpu.Room() == 0);
  }
  CHECK(gpu.Used(MemoryClass::kContext) == 2 * Gpu::kContext + 64 * kMiB);
  CHECK(cuCtxDestroy_v2(own) == CUDA_SUCCESS);
  CHECK(gpu.Used() == before);
}

struct Upload {
  const char* name;
  CUresult (*call)(CUgraphExec, CUstream);
};
const Upload kUploads[] = {{"cuGraphUpload", cuGraphUpload}, {"cuGraphUpload_ptsz", cuGraphUpload_ptsz}};

TEST_CASE("The memory of a graph is charged when it is uploaded, once for upload and launch, until it is trimmed") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  for (const Upload& upload : kUploads) {
    INFO(upload.name);
    const Graph graph({4 * kMiB, 2 * kMiB});
    {
      const Failing failing(upload.name, CUDA_ERROR_ILLEGAL_STATE);
      CHECK(upload.call(graph.exec(), nullptr) == CUDA_ERROR_ILLEGAL_STATE);
      CHECK(gpu.Used() == base);
    }
    CHECK(upload.call(graph.exec(), nullptr) == CUDA_SUCCESS);
    CHECK(gpu.Used() == base + 6 * kMiB);
    CHECK(gpu.Used(MemoryClass::kGraph) == 6 * kMiB);
    CHECK(cuGraphLaunch(graph.exec(), nullptr) == CUDA_SUCCESS);
    CHECK(cuCtxSynchronize() == CUDA_SUCCESS);
    CHECK(gpu.Used() == base + 6 * kMiB);
    CHECK(cuDeviceGraphMemTrim(0) == CUDA_SUCCESS);
    CHECK(gpu.Used() == base);
  }
}

TEST_CASE("A graph that turned out to exceed the share is not uploaded again, in either form, and one that fits is") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  for (const Upload& upload : kUploads) {
    INFO(upload.name);
    const Graph large({600 * kMiB, 600 * kMiB}), small({kMiB});
    upload.call(large.exec(), nullptr);  // each node by itself fits, and only now the driver says what they take together
    const auto calls = DriverCalls(upload.name);
    CHECK(upload.call(large.exec(), nullptr) == CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(DriverCalls(upload.name) == calls);
    CHECK(upload.call(small.exec(), nullptr) == CUDA_SUCCESS);
    CHECK(gpu.Used() == base + 2 * kMiB);
  }
  CHECK(gpu.Used() == base);
}

}  // namespace
}  // namespace partage::intercept
