// SPDX-License-Identifier: Apache-2.0
// Memory that graphs own.
#include <catch2/catch.hpp>

#include "test/intercept/memory/gpu.h"

namespace partage::intercept {
namespace {

using shm::MemoryClass;
constexpr std::uint64_t kMiB = Gpu::kMiB;

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

}  // namespace
}  // namespace partage::intercept
