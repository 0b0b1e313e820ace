// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <chrono>

#include "test/support/libcuda/test/started.h"

namespace partage::test {
namespace {

double Milliseconds(const Started& cuda, CUgraphExec exec, CUstream stream) {
  CUevent start = nullptr, end = nullptr;
  float ms = 0;
  Expect(cuda.cuEventCreate(&start, 0) == CUDA_SUCCESS && cuda.cuEventCreate(&end, 0) == CUDA_SUCCESS);
  Expect(cuda.cuEventRecord(start, stream) == CUDA_SUCCESS && cuda.cuGraphLaunch(exec, stream) == CUDA_SUCCESS);
  Expect(cuda.cuEventRecord(end, stream) == CUDA_SUCCESS && cuda.cuEventSynchronize(end) == CUDA_SUCCESS);
  Expect(cuda.cuEventElapsedTime(&ms, start, end) == CUDA_SUCCESS);
  return ms;
}

TEST_CASE("A captured stream runs nothing until its graph is launched, which takes as long as its kernels together") {
  Child child({}, [] {
    const Started cuda;
    const CUstream stream = cuda.NewStream(), other = cuda.NewStream();
    const CUfunction kernel = cuda.Function("k_2ms");
    CUgraph graph = nullptr;
    CUgraphExec exec = nullptr;
    CUevent fork = nullptr;
    size_t count = 0;
    Expect(cuda.cuEventCreate(&fork, CU_EVENT_DISABLE_TIMING) == CUDA_SUCCESS);
    Expect(cuda.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
    Expect(cuda.Launch(kernel, stream) == CUDA_SUCCESS && cuda.cuStreamSynchronize(stream) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    Expect(cuda.cuEventRecord(fork, stream) == CUDA_SUCCESS && cuda.cuStreamWaitEvent(other, fork, 0) == CUDA_SUCCESS);
    Expect(cuda.Launch(kernel, other) == CUDA_SUCCESS && cuda.cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
    Expect(cuda.cuStreamQuery(other) == CUDA_SUCCESS);
    Expect(cuda.cuGraphGetNodes(graph, nullptr, &count) == CUDA_SUCCESS && count == 2);
    Expect(cuda.cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS);
    const double ms = Milliseconds(cuda, exec, stream);
    Expect(ms >= 4 && ms < 5);
  });
  CHECK(child.Good());
}

TEST_CASE("A kernel node of an executable graph can be changed") {
  Child child({}, [] {
    const Started cuda;
    CUgraph graph = nullptr;
    CUgraphExec exec = nullptr;
    CUgraphNode node = nullptr;
    CUDA_KERNEL_NODE_PARAMS parameters{
        .func = cuda.Function("k_1ms"), .gridDimX = 1, .gridDimY = 1, .gridDimZ = 1, .blockDimX = 1, .blockDimY = 1, .blockDimZ = 1};
    Expect(cuda.cuGraphCreate(&graph, 0) == CUDA_SUCCESS &&
           cuda.cuGraphAddKernelNode_v2(&node, graph, nullptr, 0, &parameters) == CUDA_SUCCESS);
    Expect(cuda.cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS);
    parameters.func = cuda.Function("k_5ms");
    Expect(cuda.cuGraphExecKernelNodeSetParams_v2(exec, node, &parameters) == CUDA_SUCCESS);
    Expect(Milliseconds(cuda, exec, cuda.NewStream()) >= 5);
  });
  CHECK(child.Good());
}

TEST_CASE("Memory that a graph allocates stays with the driver until it is trimmed") {
  Child child({{"FAKE_CUDA", "device memory=64M"}}, [] {
    const Started cuda;
    const CUstream stream = cuda.NewStream();
    CUgraph graph = nullptr;
    CUgraphExec exec = nullptr;
    CUgraphNode alloc = nullptr, free = nullptr;
    cuuint64_t value = 0;
    CUDA_MEM_ALLOC_NODE_PARAMS parameters{};
    parameters.bytesize = 10 * kMiB;
    Expect(cuda.cuGraphCreate(&graph, 0) == CUDA_SUCCESS &&
           cuda.cuGraphAddMemAllocNode(&alloc, graph, nullptr, 0, &parameters) == CUDA_SUCCESS);
    Expect(cuda.cuGraphAddMemFreeNode(&free, graph, &alloc, 1, parameters.dptr) == CUDA_SUCCESS);
    Expect(cuda.cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS && cuda.Used() == 0);
    for (int run = 0; run < 3; ++run) Expect(cuda.cuGraphLaunch(exec, stream) == CUDA_SUCCESS && cuda.Used() == 10 * kMiB);
    Expect(cuda.cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT, &value) == CUDA_SUCCESS && value == 10 * kMiB);
    Expect(cuda.cuDeviceGraphMemTrim(0) == CUDA_SUCCESS && cuda.Used() == 0);
    CUdeviceptr big = 0;
    Expect(cuda.cuMemAlloc_v2(&big, 60 * kMiB) == CUDA_SUCCESS && cuda.cuGraphLaunch(exec, stream) == CUDA_ERROR_OUT_OF_MEMORY);
  });
  CHECK(child.Good());
}

}  // namespace
}  // namespace partage::test
