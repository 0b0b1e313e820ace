// SPDX-License-Identifier: Apache-2.0
// Graphs that own memory.
#pragma once

#include <catch2/catch.hpp>
#include <cstdint>
#include <vector>

#include "test/intercept/memory/gpu.h"

namespace partage::intercept {

inline CUDA_MEM_ALLOC_NODE_PARAMS OnDevice(std::uint64_t bytes) {
  CUDA_MEM_ALLOC_NODE_PARAMS parameters{};
  parameters.poolProps = {.allocType = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
  parameters.bytesize = bytes;
  return parameters;
}

/// An executable graph whose nodes allocate so much each, in a row, and free all of it again, or keep it.
class Graph {
 public:
  enum After { kFrees, kKeeps };

  explicit Graph(std::vector<std::uint64_t> sizes, After after = kFrees) {
    REQUIRE(cuGraphCreate(&graph_, 0) == CUDA_SUCCESS);
    for (const std::uint64_t bytes : sizes) {
      auto parameters = OnDevice(bytes);
      Chain([&](CUgraphNode* node) { return cuGraphAddMemAllocNode(node, graph_, last_, count_, &parameters); });
      pointers_.push_back(parameters.dptr);
    }
    for (const CUdeviceptr pointer : pointers_) {
      if (after == kKeeps) break;
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
    const CUresult result = LaunchOnly();
    cuCtxSynchronize();
    return result;
  }
  CUresult LaunchOnly() { return cuGraphLaunch(exec_, nullptr); }

  CUgraphExec exec() const { return exec_; }
  const std::vector<CUdeviceptr>& pointers() const { return pointers_; }

 private:
  template <class Add>
  void Chain(Add&& add) {
    CUgraphNode node = nullptr;
    REQUIRE(add(&node) == CUDA_SUCCESS);
    last_[0] = node;
    count_ = 1;
  }

  std::vector<CUdeviceptr> pointers_;
  CUgraph graph_ = nullptr;
  CUgraphExec exec_ = nullptr;
  CUgraphNode last_[1] = {};
  std::size_t count_ = 0;
};

}  // namespace partage::intercept
