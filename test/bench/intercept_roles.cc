// SPDX-License-Identifier: Apache-2.0
#include "test/bench/intercept_roles.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "test/support/libcuda/client.h"

namespace partage::bench {
namespace {

using namespace intercept;

constexpr int kBatch = 500;
constexpr int kLaunches = 100;  // in a batch: so few that a limit's reserve covers them, and what is measured is the call and no waiting
constexpr int kWarm = 20;
constexpr size_t kBlock = 4096;

long long Now() { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }

void Must(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "partage-intercept-bench: %s\n", what);
  _exit(1);
}

/// The driver, started, with a context; and the two ways to reach a function of it.
struct Program {
  Program() : cuda("libcuda.so.1") {
    CUcontext context = nullptr;
    Must(cuda.handle != nullptr && cuda.cuInit(0) == CUDA_SUCCESS, "no driver");
    Must(cuda.cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS && cuda.cuCtxSetCurrent(context) == CUDA_SUCCESS, "no context");
  }

  template <class Function>
  Function Bare(const char* name) const {
    return reinterpret_cast<Function>(cuda.address(name));
  }

  /// As a program finds it that loads the driver, or (`linked`) that was linked with it.
  template <class Function>
  Function Found(const char* name, bool linked) const {
    return reinterpret_cast<Function>(dlsym(linked ? RTLD_DEFAULT : cuda.handle, name));
  }

  test::CudaClient cuda;
};

/// Short pauses are spun, so that the core stays as it is; long ones leave it to the others that measure.
void Pause(long long ns) {
  if (ns > 1'000'000)
    usleep(static_cast<useconds_t>(ns / 1000));
  else
    for (const long long until = Now() + ns; Now() < until;) continue;
}

struct Repeat {
  int rounds;
  int batch = kBatch;
  int warm = 0;            // calls before each round that do not count: a pause may have given the caches to others
  long long pause_ns = 0;  // after each round
};

template <class Call>
double BatchNs(Call& call, int batch) {
  const long long start = Now();
  for (int i = 0; i < batch; ++i) call();
  return static_cast<double>(Now() - start) / batch;
}

/// Bare and found calls in turns, so that whatever else the machine does hits both; the median, so that it hardly counts.
template <class Bare, class Found>
double MedianAdded(Bare bare, Found found, const Repeat& repeat) {
  std::vector<double> added;
  for (int round = 0; round < repeat.rounds; ++round) {
    const bool bare_first = round % 2 == 0;
    for (int i = 0; i < repeat.warm; ++i) bare(), found();
    const double first = bare_first ? BatchNs(bare, repeat.batch) : BatchNs(found, repeat.batch);
    const double second = bare_first ? BatchNs(found, repeat.batch) : BatchNs(bare, repeat.batch);
    added.push_back(bare_first ? second - first : first - second);
    Pause(repeat.pause_ns);
  }
  std::nth_element(added.begin(), added.begin() + repeat.rounds / 2, added.end());
  return added[static_cast<size_t>(repeat.rounds / 2)];
}

/// One measurement: `make(function)` gives the call to repeat, for the bare function and for the one found.
template <class Function, class Make>
double Compare(const Program& program, const char* name, bool linked, bool hooked, const Repeat& repeat, Make make) {
  const auto bare = program.Bare<Function>(name), found = program.Found<Function>(name, linked);
  Must(bare != nullptr && found != nullptr, name);
  Must(!hooked || bare != found, "libpartage.so does not hook it");
  return MedianAdded(make(bare), make(found), repeat);
}

double Launch(const Program& program, bool linked, bool hooked, const Repeat& repeat) {
  CUmodule module = nullptr;
  CUfunction kernel = nullptr;
  Must(program.cuda.cuModuleLoadData(&module, "") == CUDA_SUCCESS, "no module");
  Must(program.cuda.cuModuleGetFunction(&kernel, module, "kernel") == CUDA_SUCCESS, "no kernel");
  using Function = decltype(program.cuda.cuLaunchKernel);
  return Compare<Function>(program, "cuLaunchKernel", linked, hooked, repeat,
                           [&](Function f) { return [f, kernel] { f(kernel, 1, 1, 1, 32, 1, 1, 0, nullptr, nullptr, nullptr); }; });
}

double AllocFree(const Program& program, int live, int rounds) {
  using Alloc = decltype(program.cuda.cuMemAlloc_v2);
  using Free = decltype(program.cuda.cuMemFree_v2);
  const auto alloc = program.Found<Alloc>("cuMemAlloc_v2", false), bare_alloc = program.Bare<Alloc>("cuMemAlloc_v2");
  const auto free = program.Found<Free>("cuMemFree_v2", false), bare_free = program.Bare<Free>("cuMemFree_v2");
  Must(alloc != bare_alloc && free != bare_free, "libpartage.so does not hook cuMemAlloc");
  CUdeviceptr pointer = 0;
  for (int i = 0; i < live; ++i) Must(alloc(&pointer, kBlock) == CUDA_SUCCESS, "live memory refused");
  const auto pair = [](Alloc a, Free f) {
    return [a, f] {
      CUdeviceptr block = 0;
      a(&block, kBlock);
      f(block);
    };
  };
  return MedianAdded(pair(bare_alloc, bare_free), pair(alloc, free), {rounds});
}

double MemGetInfo(const Program& program, int rounds) {
  using Function = decltype(program.cuda.cuMemGetInfo_v2);
  return Compare<Function>(program, "cuMemGetInfo_v2", false, true, {rounds}, [](Function f) {
    return [f] {
      size_t free = 0, total = 0;
      f(&free, &total);
    };
  });
}

double GetProcAddress(const Program& program, int rounds) {
  using Function = decltype(program.cuda.cuGetProcAddress_v2);
  return Compare<Function>(program, "cuGetProcAddress_v2", false, true, {rounds}, [](Function f) {
    return [f] {
      void* found = nullptr;
      CUdriverProcAddressQueryResult status{};
      f("cuMemAlloc", &found, 12000, 0, &status);
    };
  });
}

double MemcpyAsync(const Program& program, int rounds) {
  using Function = decltype(program.cuda.cuMemcpyAsync);
  return Compare<Function>(program, "cuMemcpyAsync", false, false, {rounds},
                           [](Function f) { return [f] { f(1 << 20, 2 << 20, 4096, nullptr); }; });
}

}  // namespace

double AddedNs(const Measured& what) {
  const Program program;
  if (what.call == "launch") {
    // A launch counts as at least half a microsecond of GPU time, of which the limit lets through half.
    const long long pause_ns = what.processes * (kLaunches + kWarm) * 2'000LL;
    return Launch(program, what.linked, what.hooked, {what.rounds, kLaunches, kWarm, pause_ns});
  }
  if (what.call == "alloc_free") return AllocFree(program, what.live, what.rounds);
  if (what.call == "mem_get_info") return MemGetInfo(program, what.rounds);
  if (what.call == "get_proc_address") return GetProcAddress(program, what.rounds);
  Must(what.call == "memcpy_async", "no such call");
  return MemcpyAsync(program, what.rounds);
}

void Hold(int ready, int stop) {
  const Program program;
  CUdeviceptr pointer = 0;
  char byte = 0;
  Must(program.cuda.cuMemAlloc_v2(&pointer, kBlock) == CUDA_SUCCESS, "no memory to hold");
  Must(write(ready, "x", 1) == 1 && read(stop, &byte, 1) == 0, "nobody waits");
}

void Start(int line, int place, int go) {
  auto* start = static_cast<StartLine*>(mmap(nullptr, sizeof(StartLine), PROT_READ | PROT_WRITE, MAP_SHARED, line, 0));
  char byte = 0;
  Must(start != MAP_FAILED && read(go, &byte, 1) == 0, "no start line");
  const Program program;
  CUdeviceptr pointer = 0;
  Must(program.cuda.cuMemAlloc_v2(&pointer, kBlock) == CUDA_SUCCESS, "no first memory");
  start->ready_ns[place] = Now();
}

}  // namespace partage::bench
