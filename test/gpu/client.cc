// SPDX-License-Identifier: Apache-2.0
// One process of a measurement on a GPU; measure.py starts it with and without libpartage.so and reads the numbers it prints. The first word says what
// it does. Needs the driver at run time and nothing else; kernels are PTX text, which the driver compiles.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <vector>

#include "driver.h"

namespace partage::gpu {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

// --- What hooks are in place ---

/// Where each name of the driver leads, by both ways of looking it up: "NAME OBJECT OBJECT" a line.
void PrintHooks() {
  const Cuda cuda;
  cuda.Call("cuInit", 0U);
  using GetProcAddress = CUresult (*)(const char*, void**, int, cuuint64_t);
  auto* const get = reinterpret_cast<GetProcAddress>(cuda.Find("cuGetProcAddress"));
  for (const char* name : {"cuMemAlloc_v2", "cuMemFree_v2", "cuMemGetInfo_v2", "cuMemAllocAsync", "cuMemCreate", "cuLaunchKernel",
                           "cuLaunchKernelEx", "cuGraphLaunch", "cuDevicePrimaryCtxRetain", "cuDriverGetVersion"}) {
    std::string bare = name;
    if (bare.ends_with("_v2")) bare.resize(bare.size() - 3);
    void* found = nullptr;
    if (get != nullptr) get(bare.c_str(), &found, 12000, 0);
    std::printf("%s %s %s\n", name, ObjectOf(cuda.Find(name)).c_str(), get != nullptr ? ObjectOf(found).c_str() : "unasked");
  }
}

// --- What each way of allocating is charged ---

struct Way {
  std::string name;
  std::function<std::function<void()>(const Gpu&, std::size_t)> allocate;  // returns how to free; empty: this driver refuses the way
};

std::function<void()> Linear(const Gpu& gpu, std::size_t bytes) {
  CUdeviceptr pointer = 0;
  if (gpu.Try("cuMemAlloc_v2", &pointer, bytes) != CUDA_SUCCESS) return {};
  return [&gpu, pointer] { gpu.Call("cuMemFree_v2", pointer); };
}

std::function<void()> Pitched(const Gpu& gpu, std::size_t bytes) {
  CUdeviceptr pointer = 0;
  std::size_t pitch = 0;
  if (gpu.Try("cuMemAllocPitch_v2", &pointer, &pitch, std::size_t{4096}, bytes / 4096, 4U) != CUDA_SUCCESS) return {};
  return [&gpu, pointer] { gpu.Call("cuMemFree_v2", pointer); };
}

std::function<void()> Pooled(const Gpu& gpu, std::size_t bytes) {
  CUdeviceptr pointer = 0;
  if (gpu.Try("cuMemAllocAsync", &pointer, bytes, gpu.stream()) != CUDA_SUCCESS) return {};
  gpu.Synchronize();
  return [&gpu, pointer] {
    CUmemoryPool pool = nullptr;
    gpu.Call("cuMemFreeAsync", pointer, gpu.stream());
    gpu.Synchronize();
    gpu.Call("cuDeviceGetDefaultMemPool", &pool, gpu.device());
    gpu.Call("cuMemPoolTrimTo", pool, std::size_t{0});
  };
}

std::function<void()> Physical(const Gpu& gpu, std::size_t bytes) {
  CUmemAllocationProp wanted{};
  wanted.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  wanted.location = {CU_MEM_LOCATION_TYPE_DEVICE, gpu.device()};
  CUmemGenericAllocationHandle handle = 0;
  if (gpu.Try("cuMemCreate", &handle, bytes, const_cast<const CUmemAllocationProp*>(&wanted), 0ULL) != CUDA_SUCCESS) return {};
  return [&gpu, handle] { gpu.Call("cuMemRelease", handle); };
}

std::function<void()> Array(const Gpu& gpu, std::size_t bytes) {
  const CUDA_ARRAY_DESCRIPTOR shape{1024, bytes / 1024 / 16, CU_AD_FORMAT_FLOAT, 4};
  CUarray array = nullptr;
  if (gpu.Try("cuArrayCreate_v2", &array, &shape) != CUDA_SUCCESS) return {};
  return [&gpu, array] { gpu.Call("cuArrayDestroy", array); };
}

/// Bytes used of the share, as this process is told.
std::size_t Told(const Gpu& gpu) {
  std::size_t free = 0, total = 0;
  gpu.Call("cuMemGetInfo_v2", &free, &total);
  return total - free;
}

/// Says "WAY BYTES" with the bytes in place and "WAY 0" with them freed, told by the library, and waits for a line after each while somebody outside looks.
void AllocateEachWay() {
  const Gpu gpu;
  const auto show = [&](const std::string& what, std::size_t asked) {
    std::printf("%s %zu %zu\n", what.c_str(), asked, Told(gpu));
    std::fflush(stdout);
    std::string line;
    std::getline(std::cin, line);
  };
  show("context", 0);
  for (const Way& way :
       {Way{"linear", Linear}, Way{"pitched", Pitched}, Way{"pool", Pooled}, Way{"physical", Physical}, Way{"array", Array}}) {
    const auto give_back = way.allocate(gpu, 256 * kMiB);
    if (!give_back) continue;
    show(way.name, 256 * kMiB);
    give_back();
    show(way.name, 0);
  }
}

/// Without the library: what NVML says, "DEVICE-BYTES PROCESS-BYTES", for each line with a pid that is read; process bytes are -1 where it is not listed.
void Observe() {
  void* const nvml = dlopen("libnvidia-ml.so.1", RTLD_NOW);
  Must(nvml != nullptr, "no NVML");
  const auto call = [&]<class... Args>(const char* name, Args... args) {
    auto* const function = reinterpret_cast<nvmlReturn_t (*)(Args...)>(dlsym(nvml, name));
    return function != nullptr && function(args...) == NVML_SUCCESS;
  };
  nvmlDevice_t device = nullptr;
  Must(call("nvmlInit_v2") && call("nvmlDeviceGetHandleByIndex_v2", 0U, &device), "NVML does not start");
  for (unsigned pid = 0; std::cin >> pid;) {
    nvmlMemory_t memory{};
    std::vector<nvmlProcessInfo_t> list(256);
    auto count = static_cast<unsigned>(list.size());
    if (!call("nvmlDeviceGetComputeRunningProcesses_v3", device, &count, list.data())) count = 0;
    call("nvmlDeviceGetMemoryInfo", device, &memory);
    long long process = -1;
    for (unsigned i = 0; i < count; ++i) process = list[i].pid == pid ? static_cast<long long>(list[i].usedGpuMemory) : process;
    std::printf("%llu %lld\n", static_cast<unsigned long long>(memory.used), process);
    std::fflush(stdout);
  }
}

/// The most linear memory in MiB, then whether freeing makes room again.
void FillUp() {
  const Gpu gpu;
  std::vector<CUdeviceptr> blocks;
  CUdeviceptr pointer = 0;
  while (gpu.Try("cuMemAlloc_v2", &pointer, 16 * kMiB) == CUDA_SUCCESS) blocks.push_back(pointer);
  const std::size_t most = blocks.size() * 16;
  for (const CUdeviceptr block : blocks) gpu.Call("cuMemFree_v2", block);
  std::printf("%zu %d\n", most, static_cast<int>(gpu.Try("cuMemAlloc_v2", &pointer, 16 * kMiB)));
}

// --- How much of the GPU's time ---

/// Keeps the GPU busy with kernels of `ns` each for `seconds`; prints what percent of the time they ran, over all and in each second.
void Busy(double ns, double seconds, double turns_per_ns) {
  const Gpu gpu;
  const double rate = turns_per_ns > 0 ? turns_per_ns : gpu.TurnsPerNs();
  const auto turns = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(ns * rate));
  const int batch = std::max(1, static_cast<int>(2e6 / ns));
  constexpr int kInFlight = 3;  // batches; enough that the queue never runs dry, too few to hide a wait of seconds
  std::vector<CUevent> done(kInFlight);
  for (CUevent& event : done) gpu.Call("cuEventCreate", &event, 2U);
  std::vector<double> ends;  // of each batch
  const double start = Seconds();
  for (int i = 0; Seconds() - start < seconds; ++i) {
    CUevent& event = done[static_cast<std::size_t>(i % kInFlight)];
    if (i >= kInFlight) {
      gpu.Call("cuEventSynchronize", event);
      ends.push_back(Seconds() - start);
    }
    for (int k = 0; k < batch; ++k) Must(gpu.Launch(turns) == CUDA_SUCCESS, "launch refused");
    gpu.Call("cuEventRecord", event, gpu.stream());
  }
  const double warm = seconds / 5;  // the first measurements of a new kernel
  const double batch_s = ns * batch / 1e9;
  const auto percent = [&](double from, double to) {
    const auto in = std::count_if(ends.begin(), ends.end(), [&](double end) { return end > from && end <= to; });
    return 100.0 * static_cast<double>(in) * batch_s / (to - from);
  };
  std::printf("%.3f", percent(warm, seconds));
  for (double from = warm; from + 1 <= seconds; from += 1) std::printf(" %.3f", percent(from, from + 1));
  std::printf("\n");
}

// --- What calls cost ---

/// Seconds that `times` calls take, and the wait for what they started.
template <class Body>
double Timed(const Gpu& gpu, int times, Body&& body) {
  gpu.Synchronize();
  const double start = Seconds();
  for (int i = 0; i < times; ++i) body();
  gpu.Synchronize();
  return Seconds() - start;
}

void PrintNs(double seconds, int times) { std::printf("%.2f\n", seconds * 1e9 / times); }

void LaunchStorm(int times) {
  const Gpu gpu;
  const auto launch = [&] { gpu.Launch(1); };
  Timed(gpu, times / 10 + 1, launch);
  PrintNs(Timed(gpu, times, launch), times);
}

void AllocatorStorm(int times) {
  const Gpu gpu;
  CUdeviceptr pointer = 0;
  const auto pair = [&] {
    gpu.Call("cuMemAlloc_v2", &pointer, 2 * kMiB);
    gpu.Call("cuMemFree_v2", pointer);
  };
  Timed(gpu, times / 10 + 1, pair);
  PrintNs(Timed(gpu, times, pair), times);
}

void GraphReplay(int times) {
  constexpr int kNodes = 20;
  const Gpu gpu;
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  gpu.Call("cuStreamBeginCapture_v2", gpu.stream(), 2U);
  for (int i = 0; i < kNodes; ++i) gpu.Launch(1);
  gpu.Call("cuStreamEndCapture", gpu.stream(), &graph);
  gpu.Call("cuGraphInstantiateWithFlags", &exec, graph, 0ULL);
  const auto replay = [&] { gpu.Call("cuGraphLaunch", exec, gpu.stream()); };
  Timed(gpu, times / 10 + 1, replay);
  PrintNs(Timed(gpu, times, replay), times);
}

int Play(const std::vector<std::string>& words) {
  const auto number = [&](std::size_t i) { return i < words.size() ? std::stod(words[i]) : 0; };
  const std::map<std::string, std::function<void()>> roles = {
      {"hooks", PrintHooks},
      {"each-way", AllocateEachWay},
      {"observe", Observe},
      {"fill-up", FillUp},
      {"calibrate", [] { std::printf("%.9f\n", Gpu().TurnsPerNs()); }},
      {"busy", [&] { Busy(number(1), number(2), number(3)); }},
      {"launch-storm", [&] { LaunchStorm(static_cast<int>(number(1))); }},
      {"allocator-storm", [&] { AllocatorStorm(static_cast<int>(number(1))); }},
      {"graph-replay", [&] { GraphReplay(static_cast<int>(number(1))); }},
  };
  const auto role = roles.find(words.empty() ? "" : words[0]);
  if (role == roles.end()) return std::fprintf(stderr, "usage: client ROLE [NUMBER]...\n"), 2;
  return role->second(), 0;
}

}  // namespace
}  // namespace partage::gpu

int main(int argc, char** argv) { return partage::gpu::Play({argv + 1, argv + argc}); }
