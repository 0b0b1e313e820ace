// SPDX-License-Identifier: Apache-2.0
// Every form in which a capture begins and ends, and every way to wait for the device, under a limit on compute.
#include <catch2/catch.hpp>
#include <functional>

#include "test/intercept/limiter/limited_gpu.h"
#include "test/support/libcuda/control.h"

namespace partage::intercept {
namespace {

/// One form of capture; `graph` is empty before, or what is captured into.
struct CaptureForm {
  const char* name;
  CUresult (*begin)(CUstream stream, CUgraph into);
  CUresult (*end)(CUstream stream, CUgraph* graph);
  bool into = false;
};

const CaptureForm kCaptureForms[] = {
    {"cuStreamBeginCapture", [](CUstream s, CUgraph) { return cuStreamBeginCapture(s); }, cuStreamEndCapture},
    {"cuStreamBeginCapture_ptsz", [](CUstream s, CUgraph) { return cuStreamBeginCapture_ptsz(s); }, cuStreamEndCapture_ptsz},
    {"cuStreamBeginCapture_v2", [](CUstream s, CUgraph) { return cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED); },
     cuStreamEndCapture},
    {"cuStreamBeginCapture_v2_ptsz", [](CUstream s, CUgraph) { return cuStreamBeginCapture_v2_ptsz(s, CU_STREAM_CAPTURE_MODE_RELAXED); },
     cuStreamEndCapture_ptsz},
    {"cuStreamBeginCaptureToGraph",
     [](CUstream s, CUgraph g) { return cuStreamBeginCaptureToGraph(s, g, nullptr, nullptr, 0, CU_STREAM_CAPTURE_MODE_RELAXED); },
     cuStreamEndCapture, true},
    {"cuStreamBeginCaptureToGraph_ptsz",
     [](CUstream s, CUgraph g) { return cuStreamBeginCaptureToGraph_ptsz(s, g, nullptr, nullptr, 0, CU_STREAM_CAPTURE_MODE_RELAXED); },
     cuStreamEndCapture_ptsz, true},
};

TEST_CASE("In every form of capture launches neither wait, count nor are measured, and the graph's launch is charged as a whole") {
  LimitedGpu gpu({.cores = 25});
  const CUfunction kernel = gpu.Kernel("1ms");
  for (int i = 0; i < 8; ++i) REQUIRE(LaunchOn(kernel) == CUDA_SUCCESS);  // it has a price
  REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  for (const CaptureForm& way : kCaptureForms) {
    INFO(way.name);
    CUstream stream = nullptr;
    CUgraph graph = nullptr, into = nullptr;
    CUgraphExec exec = nullptr;
    REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
    if (way.into) REQUIRE(cuGraphCreate(&into, 0) == CUDA_SUCCESS);
    fakeCudaReset();
    const std::int64_t before = gpu.spent_ns();
    REQUIRE(way.begin(stream, into) == CUDA_SUCCESS);
    CHECK(fakeCudaCalls(way.name) == 1);
    // 100 ms of kernels are 400 ms at a quarter of the GPU.
    const double took = Milliseconds([&] {
      for (int i = 0; i < 100; ++i) REQUIRE(LaunchOn(kernel, stream) == CUDA_SUCCESS);
    });
    CHECK(took < 200);
    CHECK(gpu.spent_ns() == before);
    CHECK(fakeCudaCalls("cuEventRecord") == 0);
    CHECK(fakeCudaCalls("cuEventRecord_ptsz") == 0);
    REQUIRE(way.end(stream, &graph) == CUDA_SUCCESS);
    if (way.into) CHECK(graph == into);
    std::size_t nodes = 0;
    REQUIRE(cuGraphGetNodes(graph, nullptr, &nodes) == CUDA_SUCCESS);
    CHECK(nodes == 100);

    REQUIRE(cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS);
    CHECK(gpu.spent_ns() == before);
    REQUIRE(cuGraphLaunch(exec, stream) == CUDA_SUCCESS);
    REQUIRE(cuStreamSynchronize(stream) == CUDA_SUCCESS);
    REQUIRE(cuGraphLaunch(exec, stream) == CUDA_SUCCESS);  // takes in what the first was measured to take
    REQUIRE(cuStreamSynchronize(stream) == CUDA_SUCCESS);
    CHECK(static_cast<double>(gpu.spent_ns() - before) == Approx(200e6).epsilon(0.15));
    REQUIRE(LaunchOn(kernel, stream) == CUDA_SUCCESS);  // no capture is thought to be going on
    CHECK(fakeCudaCalls("cuStreamIsCapturing") <= 110);
    fakeCudaReset();
    REQUIRE(LaunchOn(kernel, stream) == CUDA_SUCCESS);
    CHECK(fakeCudaCalls("cuStreamIsCapturing") == 0);
    CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
    CHECK(cuStreamDestroy_v2(stream) == CUDA_SUCCESS);
  }
}

TEST_CASE("Every way to wait for the device under a limit waits for what was launched, and is charged nothing") {
  LimitedGpu gpu({.cores = 90});
  const CUfunction kernel = gpu.Kernel("20ms");
  CUevent event = nullptr;
  CUstream stream = nullptr;
  REQUIRE(cuEventCreate(&event, 0) == CUDA_SUCCESS);
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  struct Wait {
    const char* name;
    std::function<CUresult()> wait;
  };
  for (const Wait& way : {Wait{"cuCtxSynchronize", [] { return cuCtxSynchronize(); }},
                          {"cuCtxSynchronize_v2", [&] { return cuCtxSynchronize_v2(gpu.context()); }},
                          {"cuEventSynchronize", [&] { return cuEventSynchronize(event); }},
                          {"cuStreamSynchronize", [&] { return cuStreamSynchronize(stream); }},
                          {"cuStreamSynchronize_ptsz", [&] { return cuStreamSynchronize_ptsz(stream); }}}) {
    INFO(way.name);
    const std::int64_t calls = fakeCudaCalls(way.name);
    REQUIRE(LaunchOn(kernel, stream) == CUDA_SUCCESS);
    REQUIRE(cuEventRecord(event, stream) == CUDA_SUCCESS);
    const std::int64_t charged = gpu.spent_ns();
    CHECK(cuEventQuery(event) == CUDA_ERROR_NOT_READY);
    CHECK(way.wait() == CUDA_SUCCESS);
    CHECK(cuEventQuery(event) == CUDA_SUCCESS);
    CHECK(fakeCudaCalls(way.name) == calls + 1);
    CHECK(gpu.spent_ns() == charged);
  }
  CHECK(cuCtxSynchronize_v2(reinterpret_cast<CUcontext>(8)) == CUDA_ERROR_INVALID_CONTEXT);
}

}  // namespace
}  // namespace partage::intercept
