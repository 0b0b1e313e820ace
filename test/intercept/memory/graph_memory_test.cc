// SPDX-License-Identifier: Apache-2.0
// Memory that graphs own.
#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "test/intercept/memory/gpu.h"
#include "test/intercept/memory/graph.h"

namespace partage::intercept {
namespace {

using shm::MemoryClass;

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

/// What the driver has reserved for graphs on device 0.
std::uint64_t ReservedByDriver() {
  cuuint64_t bytes = 0;
  REQUIRE(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT, &bytes) == CUDA_SUCCESS);
  return bytes;
}

TEST_CASE("A graph whose nodes together exceed the share is never launched, though each would fit") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  {
    Graph graph({600 * kMiB, 600 * kMiB}), small({kMiB});
    const auto launches = DriverCalls("cuGraphLaunch"), waits = DriverCalls("cuStreamSynchronize");
    CHECK(graph.LaunchOnly() == CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(DriverCalls("cuGraphLaunch") == launches);
    CHECK(DriverCalls("cuStreamSynchronize") == waits + 1);  // what ran before it might have let go of something
    CHECK(gpu.Used() == base);
    CHECK(small.Launch() == CUDA_SUCCESS);
    CHECK(graph.Launch() == CUDA_ERROR_OUT_OF_MEMORY);
  }
  CHECK(gpu.Used() == base);
}

TEST_CASE("Many graphs that each fit alone are launched in turn within the share") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  {
    std::vector<std::unique_ptr<Graph>> graphs;
    for (int i = 0; i < 8; ++i)
      graphs.push_back(std::make_unique<Graph>(std::vector<std::uint64_t>{(880 + static_cast<unsigned>(i)) * kMiB}));
    for (int round = 0; round < 3; ++round) {
      for (const auto& graph : graphs) {
        CHECK(graph->LaunchOnly() == CUDA_SUCCESS);  // the next may follow while it runs
        CHECK(ReservedByDriver() <= Gpu::kLimit - base);
        CHECK(gpu.Used() == base + ReservedByDriver());
      }
    }
    cuCtxSynchronize();
  }
  CHECK(gpu.Used() == base);
}

TEST_CASE("Memory that a graph leaves behind keeps others out until it is freed, even when the graph is gone") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  for (const bool destroyed : {false, true}) {
    auto first = std::make_unique<Graph>(std::vector<std::uint64_t>{900 * kMiB}, Graph::kKeeps);
    Graph second({900 * kMiB}, Graph::kKeeps);
    CHECK(first->Launch() == CUDA_SUCCESS);
    const CUdeviceptr kept = first->pointers()[0];
    if (destroyed) first.reset();
    CHECK(second.Launch() == CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(ReservedByDriver() <= Gpu::kLimit - base);
    REQUIRE(cuMemFree_v2(kept) == CUDA_SUCCESS);
    CHECK(second.Launch() == CUDA_SUCCESS);
    CHECK(ReservedByDriver() <= Gpu::kLimit - base);
    REQUIRE(cuMemFree_v2(second.pointers()[0]) == CUDA_SUCCESS);
  }
  cuDeviceGraphMemTrim(0);
  CHECK(gpu.Used() == base);
}

TEST_CASE("Graphs that fit together are launched again and again without letting go of anything") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  {
    Graph first({300 * kMiB}, Graph::kKeeps), second({200 * kMiB}, Graph::kKeeps);
    const auto launch = [](Graph& graph) { return graph.Launch() == CUDA_SUCCESS; };
    const auto free = [](Graph& graph) { return cuMemFree_v2(graph.pointers()[0]) == CUDA_SUCCESS; };
    const auto trims = DriverCalls("cuDeviceGraphMemTrim");
    CHECK((launch(first) && launch(second)));
    CUdeviceptr rest = 0;  // each has its own now: neither can add anything, and nothing is kept from others for it
    REQUIRE(cuMemAlloc_v2(&rest, gpu.Room()) == CUDA_SUCCESS);
    for (int i = 0; i < 10; ++i) CHECK((free(first) && launch(first) && free(second) && launch(second)));
    CHECK((free(first) && free(second)));
    CHECK(DriverCalls("cuDeviceGraphMemTrim") == trims);
    CHECK(gpu.Used(MemoryClass::kGraph) == ReservedByDriver());
    CHECK(cuMemFree_v2(rest) == CUDA_SUCCESS);
  }
  CHECK(gpu.Used() == base);
}

TEST_CASE("A launch that the driver refuses leaves no room taken, and an upload is charged like a launch") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  {
    Graph graph({100 * kMiB});
    {
      const Failing failing("cuGraphLaunch", CUDA_ERROR_LAUNCH_FAILED);
      CHECK(graph.Launch() == CUDA_ERROR_LAUNCH_FAILED);
      CHECK(gpu.Used() == base);
    }
    Graph large({600 * kMiB, 600 * kMiB});
    CHECK(cuGraphUpload(large.exec(), nullptr) == CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(cuGraphUpload_ptsz(large.exec(), nullptr) == CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(cuGraphUpload(graph.exec(), nullptr) == CUDA_SUCCESS);
    CHECK(graph.Launch() == CUDA_SUCCESS);
  }
  CHECK(gpu.Used() == base);
}

TEST_CASE("Every way to make a graph executable notes what it needs") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  CUgraph graph = nullptr;
  CUgraphNode first = nullptr, second = nullptr;
  auto half = OnDevice(600 * kMiB), other = half;
  REQUIRE(cuGraphCreate(&graph, 0) == CUDA_SUCCESS);
  REQUIRE(cuGraphAddMemAllocNode(&first, graph, nullptr, 0, &half) == CUDA_SUCCESS);
  REQUIRE(cuGraphAddMemAllocNode(&second, graph, &first, 1, &other) == CUDA_SUCCESS);
  CUDA_GRAPH_INSTANTIATE_PARAMS parameters{};
  CUgraphExec execs[5] = {};
  REQUIRE(cuGraphInstantiate(&execs[0], graph, nullptr, nullptr, 0) == CUDA_SUCCESS);
  REQUIRE(cuGraphInstantiate_v2(&execs[1], graph, nullptr, nullptr, 0) == CUDA_SUCCESS);
  REQUIRE(cuGraphInstantiateWithFlags(&execs[2], graph, 0) == CUDA_SUCCESS);
  REQUIRE(cuGraphInstantiateWithParams(&execs[3], graph, &parameters) == CUDA_SUCCESS);
  REQUIRE(cuGraphInstantiateWithParams_ptsz(&execs[4], graph, &parameters) == CUDA_SUCCESS);
  for (CUgraphExec exec : execs) {
    CHECK(cuGraphLaunch(exec, nullptr) == CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(cuGraphLaunch_ptsz(exec, nullptr) == CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
  }
  CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
}

TEST_CASE("A graph that is uploaded as soon as it is executable is charged for it, or is not made") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  for (const auto instantiate : {cuGraphInstantiateWithParams, cuGraphInstantiateWithParams_ptsz}) {
    for (const std::uint64_t mib : {300, 600}) {
      CUgraph graph = nullptr;
      CUgraphNode first = nullptr, second = nullptr;
      CUgraphExec exec = nullptr;
      auto half = OnDevice(mib * kMiB), other = half;
      CUDA_GRAPH_INSTANTIATE_PARAMS parameters{};
      parameters.flags = 2;  // CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD
      REQUIRE(cuGraphCreate(&graph, 0) == CUDA_SUCCESS);
      REQUIRE(cuGraphAddMemAllocNode(&first, graph, nullptr, 0, &half) == CUDA_SUCCESS);
      REQUIRE(cuGraphAddMemAllocNode(&second, graph, &first, 1, &other) == CUDA_SUCCESS);
      const bool fits = 2 * mib * kMiB <= gpu.Room();
      CHECK(instantiate(&exec, graph, &parameters) == (fits ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY));
      CHECK(parameters.flags == 2);
      CHECK((exec != nullptr) == fits);
      CHECK(ReservedByDriver() == (fits ? 2 * mib * kMiB : 0));
      CHECK(gpu.Used() == base + ReservedByDriver());
      if (fits) CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
      CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
      CHECK(cuDeviceGraphMemTrim(0) == CUDA_SUCCESS);
    }
  }
  CHECK(gpu.Used() == base);
}

TEST_CASE("Memory of graphs within a graph is noted too") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  CUgraph outer = nullptr, inner = nullptr;
  CUgraphNode node = nullptr, before = nullptr;
  CUgraphExec exec = nullptr;
  auto half = OnDevice(600 * kMiB), other = half;
  REQUIRE(cuGraphCreate(&outer, 0) == CUDA_SUCCESS);
  REQUIRE(cuGraphCreate(&inner, 0) == CUDA_SUCCESS);
  REQUIRE(cuGraphAddMemAllocNode(&before, outer, nullptr, 0, &half) == CUDA_SUCCESS);
  REQUIRE(cuGraphAddMemAllocNode(&node, inner, nullptr, 0, &other) == CUDA_SUCCESS);
  REQUIRE(cuGraphAddChildGraphNode(&node, outer, &before, 1, inner) == CUDA_SUCCESS);
  REQUIRE(cuGraphInstantiateWithFlags(&exec, outer, 0) == CUDA_SUCCESS);
  CHECK(cuGraphLaunch(exec, nullptr) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
  CHECK(cuGraphDestroy(outer) == CUDA_SUCCESS);
  CHECK(cuGraphDestroy(inner) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
}

TEST_CASE("Memory that was captured into a graph is noted like that of nodes") {
  Gpu& gpu = Gpu::Get();
  const std::uint64_t base = gpu.Used();
  CUstream stream = nullptr;
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  CUdeviceptr pointers[2] = {};
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  REQUIRE(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED) == CUDA_SUCCESS);
  for (CUdeviceptr& pointer : pointers) REQUIRE(cuMemAllocAsync(&pointer, 600 * kMiB, stream) == CUDA_SUCCESS);
  REQUIRE(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
  REQUIRE(cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS);
  CHECK(cuGraphLaunch(exec, stream) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
  CHECK(cuGraphDestroy(graph) == CUDA_SUCCESS);
  CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
  CHECK(gpu.Used() == base);
}

}  // namespace
}  // namespace partage::intercept
