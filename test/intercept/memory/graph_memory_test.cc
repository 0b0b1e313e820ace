// SPDX-License-Identifier: Apache-2.0
// Memory that graphs own.
#include <catch2/catch.hpp>
#include <vector>

#include "test/intercept/memory/gpu.h"

namespace partage::intercept {
namespace {

using shm::MemoryClass;

CUDA_MEM_ALLOC_NODE_PARAMS OnDevice(std::uint64_t bytes) {
  CUDA_MEM_ALLOC_NODE_PARAMS parameters{};
  parameters.poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
  parameters.bytesize = bytes;
  return parameters;
}

TEST_CASE("A graph's allocation that alone exceeds what is left is refused when it is added") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  CUgraph graph = nullptr;
  REQUIRE(cuGraphCreate(&graph, 0) == CUDA_SUCCESS);
  CUgraphNode node = nullptr;
  auto parameters = OnDevice(gpu.Room() + 1);
  CHECK(cuGraphAddMemAllocNode(&node, graph, nullptr, 0, &parameters) == CUDA_ERROR_OUT_OF_MEMORY);
  CUgraphNodeParams any{};
  any.type = CU_GRAPH_NODE_TYPE_MEM_ALLOC;
  any.alloc = parameters;
  CHECK(cuGraphAddNode(&node, graph, nullptr, 0, &any) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(cuGraphAddNode_v2(&node, graph, nullptr, nullptr, 0, &any) == CUDA_ERROR_OUT_OF_MEMORY);
  parameters.bytesize = gpu.Room();
  CHECK(cuGraphAddMemAllocNode(&node, graph, nullptr, 0, &parameters) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
  CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
}

TEST_CASE("Memory is not charged while a stream is captured, only checked") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  CUstream stream = nullptr;
  CUgraph graph = nullptr;
  CUdeviceptr pointer = 0;
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  REQUIRE(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED) == CUDA_SUCCESS);
  CHECK(cuMemAllocAsync(&pointer, gpu.Room() + 1, stream) == CUDA_ERROR_OUT_OF_MEMORY);
  REQUIRE(cuMemAllocAsync(&pointer, 4 * kMiB, stream) == CUDA_SUCCESS);
  CHECK(cuMemFreeAsync(pointer, stream) == CUDA_SUCCESS);
  REQUIRE(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
  CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
}

/// An executable graph whose nodes allocate so much each, in a row, and free all of it again.
class Graph {
 public:
  explicit Graph(std::vector<std::uint64_t> sizes) {
    REQUIRE(cuGraphCreate(&graph_, 0) == CUDA_SUCCESS);
    std::vector<CUdeviceptr> pointers;
    for (const std::uint64_t bytes : sizes) {
      auto parameters = OnDevice(bytes);
      Chain([&](CUgraphNode* node) { return cuGraphAddMemAllocNode(node, graph_, last_, count_, &parameters); });
      pointers.push_back(parameters.dptr);
    }
    for (const CUdeviceptr pointer : pointers) {
      Chain([&](CUgraphNode* node) { return cuGraphAddMemFreeNode(node, graph_, last_, count_, pointer); });
    }
    REQUIRE(cuGraphInstantiateWithFlags(&exec_, graph_, 0) == CUDA_SUCCESS);
  }
  ~Graph() {
    cuGraphExecDestroy(exec_);
    cuGraphDestroy(graph_);
    cuDeviceGraphMemTrim(0);
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  CUresult Launch() {
    const CUresult result = cuGraphLaunch(exec_, nullptr);
    cuCtxSynchronize();
    return result;
  }

 private:
  template <class Add>
  void Chain(Add&& add) {
    CUgraphNode node = nullptr;
    REQUIRE(add(&node) == CUDA_SUCCESS);
    last_[0] = node;
    count_ = 1;
  }

  CUgraph graph_ = nullptr;
  CUgraphExec exec_ = nullptr;
  CUgraphNode last_[1] = {};
  std::size_t count_ = 0;
};

TEST_CASE("What graphs keep is charged once they were launched, and given back when it is trimmed") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  Graph graph({4 * kMiB, 6 * kMiB});
  CHECK(gpu.Used() == base);
  CHECK(graph.Launch() == CUDA_SUCCESS);
  CHECK(gpu.Used() == base + 10 * kMiB);
  CHECK(gpu.Used(MemoryClass::kGraph) == 10 * kMiB);
  CHECK(graph.Launch() == CUDA_SUCCESS);
  CHECK(gpu.Used() == base + 10 * kMiB);
  CHECK(cuDeviceGraphMemTrim(0) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
}

TEST_CASE("Graphs let go of what they keep before anything is refused") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  Graph graph({10 * kMiB});
  CHECK(graph.Launch() == CUDA_SUCCESS);
  CUdeviceptr pointer = 0;
  REQUIRE(cuMemAlloc_v2(&pointer, Gpu::kLimit - base) == CUDA_SUCCESS);
  CHECK(gpu.Used() == Gpu::kLimit);
  CHECK(cuMemFree_v2(pointer) == CUDA_SUCCESS);
}

TEST_CASE("A graph that turned out to exceed the share is not launched a second time") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  {
    Graph graph({600 * kMiB, 600 * kMiB}), small({kMiB});
    CHECK(graph.Launch() == CUDA_SUCCESS);  // each node by itself fits, and only now the driver says what they take together
    const auto launches = DriverCalls("cuGraphLaunch");
    CHECK(graph.Launch() == CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(DriverCalls("cuGraphLaunch") == launches);
    CHECK(small.Launch() == CUDA_SUCCESS);
    CHECK(graph.Launch() == CUDA_ERROR_OUT_OF_MEMORY);
  }
  CHECK(gpu.Used() == base);
}

}  // namespace
}  // namespace partage::intercept
