// SPDX-License-Identifier: Apache-2.0
// Launches as programs make them: what ships, preloaded over the fake driver, whose kernels take real time. Bounds are one-sided where a busy machine
// could break the other side.
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdio>
#include <functional>
#include <thread>
#include <vector>

#include "test/intercept/limiter/limited_gpu.h"
#include "test/support/libcuda/control.h"

namespace partage::intercept {
namespace {

constexpr double kSavedMs = 10;  // what a full bucket lets pass at once, in GPU time

/// One way to launch a kernel of 2 ms.
struct Way {
  const char* name;
  std::function<CUresult(CUfunction)> launch;
};

CUresult Extended(CUresult (*launch)(const CUlaunchConfig*, CUfunction, void**, void**), CUfunction kernel) {
  CUlaunchConfig config{};
  config.gridDimX = config.gridDimY = config.gridDimZ = 1;
  config.blockDimX = config.blockDimY = config.blockDimZ = 1;
  return launch(&config, kernel, nullptr, nullptr);
}

CUresult OnSeveral(CUfunction kernel) {
  CUstream stream = nullptr;
  if (cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) != CUDA_SUCCESS) return CUDA_ERROR_UNKNOWN;
  CUDA_LAUNCH_PARAMS part{};
  part.function = kernel;
  part.gridDimX = part.gridDimY = part.gridDimZ = part.blockDimX = part.blockDimY = part.blockDimZ = 1;
  part.hStream = stream;
  const CUresult result = cuLaunchCooperativeKernelMultiDevice(&part, 1, 0);
  cuStreamSynchronize(stream);
  cuStreamDestroy_v2(stream);
  return result;
}

const Way kWays[] = {
    {"cuLaunchKernel", [](CUfunction f) { return LaunchOn(f); }},
    {"cuLaunchKernel_ptsz", [](CUfunction f) { return cuLaunchKernel_ptsz(f, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr); }},
    {"cuLaunchKernelEx", [](CUfunction f) { return Extended(cuLaunchKernelEx, f); }},
    {"cuLaunchKernelEx_ptsz", [](CUfunction f) { return Extended(cuLaunchKernelEx_ptsz, f); }},
    {"cuLaunchCooperativeKernel", [](CUfunction f) { return cuLaunchCooperativeKernel(f, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr); }},
    {"cuLaunchCooperativeKernel_ptsz",
     [](CUfunction f) { return cuLaunchCooperativeKernel_ptsz(f, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr); }},
    {"cuLaunchCooperativeKernelMultiDevice", OnSeveral},
    {"cuLaunch", [](CUfunction f) { return cuLaunch(f); }},
    {"cuLaunchGrid", [](CUfunction f) { return cuLaunchGrid(f, 1, 1); }},
    {"cuLaunchGridAsync", [](CUfunction f) { return cuLaunchGridAsync(f, 1, 1, nullptr); }},
};

/// At least this long must `gpu_ms` of kernels take at a quarter of the GPU.
double LeastMs(double gpu_ms) { return (gpu_ms - kSavedMs) * 4; }

TEST_CASE("While launches wait, what a killed neighbour in the container held becomes free, though nobody asks for it") {
  LimitedGpu gpu({.cores = 25});
  const std::uint64_t before = gpu.usage().Used(0);
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t neighbour = fork();
  if (neighbour == 0) {
    shm::Region usage;
    const bool held = usage.Open(std::getenv("PARTAGE_USAGE")) == shm::Fault::kNone && usage.Claim() == shm::Fault::kNone &&
                      usage.Reserve(0, shm::MemoryClass::kLinear, 1 << 20, shm::kNoLimit);
    if (write(ready[1], held ? "y" : "n", 1) == 1) pause();
    _exit(1);
  }
  char held = 0;
  REQUIRE(read(ready[0], &held, 1) == 1);
  CHECK(held == 'y');
  CHECK(gpu.usage().Used(0) == before + (1 << 20));
  REQUIRE(kill(neighbour, SIGKILL) == 0);
  REQUIRE(waitpid(neighbour, nullptr, 0) == neighbour);
  const CUfunction kernel = gpu.Kernel("2ms");
  double took = 0;
  while (gpu.usage().Used(0) != before && took < 1'000) took += Milliseconds([&] { CHECK(LaunchOn(kernel) == CUDA_SUCCESS); });
  CHECK(gpu.usage().Used(0) == before);
  close(ready[0]);
  close(ready[1]);
}

TEST_CASE("Every way to launch a kernel waits for its turn") {
  LimitedGpu gpu({.cores = 25});
  for (const Way& way : kWays) {
    const CUfunction kernel = gpu.Kernel("2ms");
    LaunchOn(kernel);  // measured, whichever way follows
    cuCtxSynchronize();
    const std::int64_t before = gpu.spent_ns();
    const double took = Milliseconds([&] {
      for (int i = 0; i < 30; ++i) REQUIRE(way.launch(kernel) == CUDA_SUCCESS);
    });
    INFO(way.name << " took " << took << " ms, charged " << (gpu.spent_ns() - before) / 1000 << " us");
    CHECK(fakeCudaCalls(way.name) >= 30);
    CHECK(took >= LeastMs(29 * 2 * 0.95));
    CHECK(gpu.spent_ns() - before >= 30 * 1'900'000);
  }
}

TEST_CASE("A graph launch is priced as a whole and waits for its turn") {
  LimitedGpu gpu({.cores = 25});
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  const CUfunction kernel = gpu.Kernel("1ms");
  REQUIRE(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
  for (int i = 0; i < 3; ++i) REQUIRE(LaunchOn(kernel, stream) == CUDA_SUCCESS);
  CUgraph graph = nullptr;
  REQUIRE(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
  CUgraphExec exec = nullptr;
  REQUIRE(cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS);
  for (auto launch : {cuGraphLaunch, cuGraphLaunch_ptsz}) {
    launch(exec, stream);
    cuCtxSynchronize();
    const double took = Milliseconds([&] {
      for (int i = 0; i < 20; ++i) REQUIRE(launch(exec, stream) == CUDA_SUCCESS);
    });
    CHECK(took >= LeastMs(19 * 3 * 0.95));
  }
  CHECK(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
}

TEST_CASE("What is captured neither waits nor counts, and no event disturbs the capture") {
  LimitedGpu gpu({.cores = 5});
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  const CUfunction kernel = gpu.Kernel("5ms");
  for (int i = 0; i < 3; ++i) LaunchOn(kernel, stream);  // measurements are under way
  REQUIRE(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
  fakeCudaReset();
  const std::int64_t before = gpu.spent_ns();
  const double took = Milliseconds([&] {
    for (int i = 0; i < 500; ++i) REQUIRE(LaunchOn(kernel, stream) == CUDA_SUCCESS);
  });
  CHECK(took < 500);  // at 5 % it would be 50 seconds
  CHECK(gpu.spent_ns() == before);
  std::thread([&] {
    cuCtxSetCurrent(gpu.context());
    LaunchOn(gpu.Kernel("10us"), reinterpret_cast<CUstream>(2));  // another stream, not captured
  }).join();
  for (const char* event_call : {"cuEventQuery", "cuEventRecord", "cuEventRecord_ptsz", "cuEventCreate", "cuEventElapsedTime"})
    CHECK(fakeCudaCalls(event_call) == 0);
  CUgraph graph = nullptr;
  REQUIRE(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
  std::size_t nodes = 0;
  REQUIRE(cuGraphGetNodes(graph, nullptr, &nodes) == CUDA_SUCCESS);
  CHECK(nodes == 500);
  LaunchOn(gpu.Kernel("20us"), stream);
  CHECK(fakeCudaCalls("cuEventRecord") > 0);
}

TEST_CASE("A capture that could not begin or was broken is not counted for ever") {
  LimitedGpu gpu({.cores = 50});
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  CHECK(cuStreamBeginCapture_v2(nullptr, CU_STREAM_CAPTURE_MODE_GLOBAL) != CUDA_SUCCESS);
  CUgraph graph = nullptr;
  CHECK(cuStreamEndCapture(stream, &graph) != CUDA_SUCCESS);
  fakeCudaReset();
  LaunchOn(gpu.Kernel("20us"), stream);
  CHECK(fakeCudaCalls("cuEventRecord") > 0);
}

TEST_CASE("Arguments arrive and answers come back unchanged, limited or not") {
  const bool limited = GENERATE(true, false);
  INFO("limited: " << limited);
  const pid_t child = fork();
  if (child == 0) {
    LimitedGpu gpu({.cores = limited ? 90U : 0U, .memory = 1U << 30});
    const CUfunction kernel = gpu.Kernel("1us");
    void* params[1] = {};
    int good = cuLaunchKernel(kernel, 1, 2, 3, 4, 5, 6, 7, nullptr, params, nullptr) == CUDA_SUCCESS;
    std::uint64_t seen[11] = {};
    good &= fakeCudaArguments("cuLaunchKernel", seen, 11) == 11;
    for (std::uint64_t i = 1; i <= 7; ++i) good &= seen[i] == i;
    good &= seen[0] == reinterpret_cast<std::uint64_t>(kernel) && seen[8] == 0 && seen[9] == reinterpret_cast<std::uint64_t>(params) &&
            seen[10] == 0;
    fakeCudaFail("cuLaunchKernel", CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, 0, 3);
    for (int i = 0; i < 3; ++i) good &= LaunchOn(kernel) == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    good &= LaunchOn(kernel) == CUDA_SUCCESS;
    good &= (fakeCudaCalls("cuEventRecord") > 0) == limited;
    _exit(good ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(status == 0);
}

TEST_CASE("Of a short kernel about one launch in 256 is measured") {
  LimitedGpu gpu({.cores = 90});
  const CUfunction kernel = gpu.Kernel("1us");
  for (int i = 0; i < 400; ++i) LaunchOn(kernel);
  fakeCudaReset();
  for (int i = 0; i < 200 * 256; ++i) LaunchOn(kernel);
  const std::int64_t records = fakeCudaCalls("cuEventRecord");
  INFO(records);
  CHECK(records > 200);  // two each, and now and then a third
  CHECK(records < 700);
  CHECK(fakeCudaCalls("cuEventCreate") <= 3 * 48);
}

TEST_CASE("Without a limit on compute nothing is measured, counted or delayed") {
  LimitedGpu gpu({.cores = 0, .memory = 1U << 30});
  const CUfunction kernel = gpu.Kernel("1us");
  for (int i = 0; i < 1'000; ++i) REQUIRE(LaunchOn(kernel) == CUDA_SUCCESS);
  CHECK(fakeCudaCalls("cuEventRecord") == 0);
  CHECK(gpu.spent_ns() == 0);
}

TEST_CASE("Limits written while the process runs hold from then on") {
  LimitedGpu gpu({.cores = 0, .memory = 1U << 30});
  const CUfunction kernel = gpu.Kernel("2ms");
  const auto launch = [&] {
    for (int i = 0; i < 20; ++i) LaunchOn(kernel);
    cuCtxSynchronize();
  };
  launch();
  CHECK(gpu.spent_ns() == 0);
  gpu.Write(25);
  launch();
  CHECK(Milliseconds(launch) >= LeastMs(19 * 2 * 0.95));
  gpu.Write(25, shm::CorePolicy::kDisable);
  const std::int64_t before = gpu.spent_ns();
  launch();
  CHECK(gpu.spent_ns() == before);
}

TEST_CASE("The agent's rate holds while it is alive, and the limit again when it is gone") {
  LimitedGpu gpu({.cores = 50});
  const CUfunction kernel = gpu.Kernel("1ms");
  for (int i = 0; i < 40; ++i) LaunchOn(kernel);
  gpu.WriteAgent(50'000);  // 5 %: this container yields; whatever a late wake-up let it save before, the first launches may spend
  CHECK(Milliseconds([&] {
          for (int i = 0; i < 36; ++i) LaunchOn(kernel);
        }) >= (35 * 0.95 - kSavedMs) * 20);
  // It says nothing more: after a second the old limit is back, and a hundred launches do not take a hundred times 20 ms.
  usleep(1'100'000);
  const double took = Milliseconds([&] {
    for (int i = 0; i < 100; ++i) LaunchOn(kernel);
  });
  CHECK(took < 100 * 20);
  CHECK(took >= (99 * 0.95 - kSavedMs) * 2);
}

TEST_CASE("Processes of a container share one budget, and one that is killed while it waits holds up nobody") {
  LimitedGpu gpu({.cores = 40});
  const auto launch_for = [&](double seconds) {
    const CUfunction kernel = gpu.Kernel("1ms");
    int launched = 0;
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (std::chrono::steady_clock::now() < end) launched += LaunchOn(kernel) == CUDA_SUCCESS;
    return launched;
  };
  const std::int64_t before = gpu.spent_ns();
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    children.push_back(fork());
    if (children.back() == 0) execl("/proc/self/exe", "hooks", "A worker that launches for ever", nullptr);
  }
  usleep(500'000);
  kill(children[0], SIGKILL);
  const double seconds = Milliseconds([&] { CHECK(launch_for(1.0) > 0); }) / 1000;
  for (pid_t child : children) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
  const double spent = static_cast<double>(gpu.spent_ns() - before) / 1e9;
  INFO("charged " << spent << " s in about " << seconds + 0.5);
  CHECK(spent <= (seconds + 0.7) * 0.4 + 0.06);
}

TEST_CASE("A worker that launches for ever", "[.child]") {
  CUcontext context = nullptr;
  CUmodule module = nullptr;
  CUfunction kernel = nullptr;
  cuInit(0);
  cuDevicePrimaryCtxRetain(&context, 0);
  cuCtxSetCurrent(context);
  cuModuleLoadData(&module, "any image");
  cuModuleGetFunction(&kernel, module, "spin_1ms");
  while (LaunchOn(kernel) == CUDA_SUCCESS) {
  }
}

TEST_CASE("Each device has its own budget, and a thread pays for the one it launches on") {
  LimitedGpu gpu({.cores = 50, .devices = 2});
  CUcontext second = nullptr;
  CUmodule module = nullptr;
  CUfunction kernel = nullptr;
  REQUIRE(cuDevicePrimaryCtxRetain(&second, 1) == CUDA_SUCCESS);
  REQUIRE(cuCtxSetCurrent(second) == CUDA_SUCCESS);
  REQUIRE(cuModuleLoadData(&module, "any image") == CUDA_SUCCESS);
  REQUIRE(cuModuleGetFunction(&kernel, module, "spin_1ms") == CUDA_SUCCESS);
  for (int i = 0; i < 20; ++i) LaunchOn(kernel);
  CHECK(gpu.spent_ns(0) == 0);
  CHECK(gpu.spent_ns(1) > 0);
  const std::int64_t other = gpu.spent_ns(1);
  REQUIRE(cuCtxSetCurrent(gpu.context()) == CUDA_SUCCESS);
  for (int i = 0; i < 20; ++i) LaunchOn(gpu.Kernel("1ms"));
  CHECK(gpu.spent_ns(0) > 0);
  CHECK(gpu.spent_ns(1) == other);
}

TEST_CASE("Contexts that come and go take their events along") {
  LimitedGpu gpu({.cores = 90});
  for (int i = 0; i < 60; ++i) {
    CUcontext context = nullptr;
    CUmodule module = nullptr;
    CUfunction kernel = nullptr;
    REQUIRE(cuCtxCreate_v2(&context, 0, 0) == CUDA_SUCCESS);
    REQUIRE(cuModuleLoadData(&module, "any image") == CUDA_SUCCESS);
    REQUIRE(cuModuleGetFunction(&kernel, module, "spin_10us") == CUDA_SUCCESS);
    for (int n = 0; n < 6; ++n) REQUIRE(LaunchOn(kernel) == CUDA_SUCCESS);
    REQUIRE(cuCtxDestroy_v2(context) == CUDA_SUCCESS);
  }
  REQUIRE(cuCtxSetCurrent(gpu.context()) == CUDA_SUCCESS);
  const CUfunction kernel = gpu.Kernel("10us");
  for (int n = 0; n < 300; ++n) REQUIRE(LaunchOn(kernel) == CUDA_SUCCESS);
  REQUIRE(cuDevicePrimaryCtxReset_v2(0) == CUDA_SUCCESS);
}

TEST_CASE("GPU time is counted per process") {
  LimitedGpu gpu({.cores = 90});
  const CUfunction kernel = gpu.Kernel("1ms");
  for (int i = 0; i < 50; ++i) LaunchOn(kernel);
  std::uint64_t sum = 0;
  for (const shm::Slot& slot : gpu.usage().layout().slots) sum += slot.gpu_ns[0];
  CHECK(static_cast<double>(sum) == Approx(50e6).epsilon(0.1));
}

}  // namespace
}  // namespace partage::intercept
