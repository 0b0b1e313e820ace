// SPDX-License-Identifier: Apache-2.0
// Processes that fork, vfork and exec all the time, while their threads are in the midst of allocating, launching and asking.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "test/intercept/memory/blocks.h"
#include "test/intercept/memory/puppet.h"
#include "test/intercept/memory/tenants.h"
#include "test/support/libcuda/control.h"

namespace partage::intercept {
namespace {

constexpr std::uint64_t kLimit = 256 * kMiB;
constexpr unsigned kParents = 3;
constexpr unsigned kThreads = 3;
constexpr int kPatienceS = 10;  // after which a child counts as hanging, and is ended
constexpr Way kWays[] = {Way::kLinear, Way::kPitched, Way::kManaged, Way::kArray, Way::kPhysical, Way::kPooled};
const std::string kProfile = "device memory=16G; " + kExact;

bool Fine(CUresult result) { return result == CUDA_SUCCESS || result == CUDA_ERROR_OUT_OF_MEMORY; }

/// Waits for the child. False, and it is killed, when it hangs; false when it fails.
bool Ends(pid_t pid) {
  int status = -1;
  const bool ended = shm::WaitFor([&] { return waitpid(pid, &status, WNOHANG) != 0; }, kPatienceS);
  if (!ended) kill(pid, SIGKILL), waitpid(pid, nullptr, 0);
  return ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// A test case of this program in its own image; Catch has nothing to say, and fails where there is no such test case.
const char* const kTaker[] = {"test", "A program that takes what it is told to and execs itself", "--warn", "NoTests", "-o", "/dev/null",
                              nullptr};
void ExecTaker() { execv("/proc/self/exe", const_cast<char**>(kTaker)); }

class KernelOfOwn {
 public:
  KernelOfOwn() {
    CUmodule module = nullptr;
    if (cuModuleLoadData(&module, "image") == CUDA_SUCCESS) cuModuleGetFunction(&function_, module, "spin_20us");
  }
  CUresult Launch() const { return cuLaunchKernel(function_, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr); }

 private:
  CUfunction function_ = nullptr;
};

bool ContextComesAndGoes() {
  CUcontext context = nullptr;
  return cuCtxCreate_v2(&context, 0, 0) == CUDA_SUCCESS && cuCtxDestroy_v2(context) == CUDA_SUCCESS;
}

/// Until the end: takes, launches, asks, frees.
bool Busy(CUcontext context, const KernelOfOwn& kernel, unsigned seed, const std::atomic<bool>& end) {
  std::mt19937 random(seed);
  bool fine = cuCtxSetCurrent(context) == CUDA_SUCCESS;
  while (!end && fine) {
    Block block;
    const Way way = kWays[random() % std::size(kWays)];
    const bool got = Take(way, way == Way::kPooled ? 2 * kMiB : PieceOf(way, 64 * 1024 + random() % kMiB), &block) == CUDA_SUCCESS;
    fine = Fine(kernel.Launch());
    if (random() % 4 == 0) fine = fine && UsedByCuda() <= kLimit;
    if (random() % 4 == 0) fine = fine && UsedByNvml() <= kLimit;
    if (random() % 4 == 0) fine = fine && cuCtxSynchronize() == CUDA_SUCCESS;
    if (got) fine = fine && Free(block) == CUDA_SUCCESS;
    if (random() % 8 == 0) fine = fine && ContextComesAndGoes() && cuCtxSetCurrent(context) == CUDA_SUCCESS;
    if (CUmodule module = nullptr; random() % 8 == 0)
      fine = fine && cuModuleLoadData(&module, "image") == CUDA_SUCCESS && cuModuleUnload(module) == CUDA_SUCCESS;
  }
  return fine;
}

/// A forked child of a process that used CUDA: nothing of it works any more, but all of it answers, and NVML goes on.
bool TryEverything(const KernelOfOwn& kernel) {
  alarm(kPatienceS);
  for (const Way way : kWays) {
    Block block;
    if (Take(way, 2 * kMiB, &block) == CUDA_SUCCESS) return false;
  }
  Free(Block{.way = Way::kLinear, .bytes = 1, .handle = 0x1234});
  CUcontext context = nullptr;
  if (ContextComesAndGoes() || cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS) return false;
  if (kernel.Launch() == CUDA_SUCCESS || cuCtxSynchronize() == CUDA_SUCCESS) return false;
  return UsedByNvml() <= kLimit;
}

pid_t Vforked() {
  char program[] = "/bin/true", *const arguments[] = {program, nullptr};
  const pid_t pid = vfork();
  if (pid == 0) {
    execv(program, arguments);
    _exit(1);
  }
  return pid;
}

pid_t Spawned() {
  pid_t pid = -1;
  posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, const_cast<char**>(kTaker), environ);
  return pid;
}

bool HaveChildren(const KernelOfOwn& kernel, unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    const pid_t pid = i % 8 == 1   ? Vforked()
                      : i % 8 == 3 ? Spawned()
                      : i % 8 == 5 ? Child([] { return ExecTaker(), false; })
                                   : Child([&] { return TryEverything(kernel); });
    if (pid <= 0 || !Ends(pid)) return false;
  }
  return true;
}

bool HaveChildrenWhileBusy(unsigned seed) {
  alarm(2 * kPatienceS);
  CUcontext context = Start();
  const KernelOfOwn kernel;
  UsedByNvml();  // the fake libraries are not made to be forked while they start
  std::atomic<bool> end = false, fine = true;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      if (!Busy(context, kernel, seed * kThreads + t, end)) fine = false;
    });
  }
  if (!HaveChildren(kernel, 200)) fine = false;
  end = true;
  for (std::thread& thread : threads) thread.join();
  return fine && cuCtxSynchronize() == CUDA_SUCCESS;
}

TEST_CASE("Hundreds of children of processes whose threads allocate and launch neither hang nor fail, and take no charge with them") {
  const Tenants tenants(kLimit, kProfile);
  REQUIRE(ChangeLimits([](shm::LimitsContent& content) { content.device[0].cores_percent = 90; }));
  setenv("PARTAGE_TEST_TAKES", std::to_string(kMiB).c_str(), 1);
  std::vector<pid_t> parents;
  for (unsigned i = 0; i < kParents; ++i) parents.push_back(Child([i] { return HaveChildrenWhileBusy(i); }));
  for (const pid_t pid : parents) CHECK(Ends(pid));
  CHECK(tenants.IsFree(kLimit));
  CHECK(tenants.Used() == 0);
}

constexpr unsigned kAtOnce = 4;
constexpr std::uint64_t kPart = 8 * kMiB;

/// Children of a process that has not used CUDA: each gets its part, and no more than all parts.
bool HaveChildrenWithCuda() {
  std::vector<pid_t> children;
  for (unsigned i = 0; i < kAtOnce; ++i) {
    children.push_back(Child([] {
      alarm(kPatienceS);
      Start();
      Block block, more;
      return Take(Way::kLinear, kPart, &block) == CUDA_SUCCESS &&
             Take(Way::kManaged, (kAtOnce - 1) * kPart + 1, &more) == CUDA_ERROR_OUT_OF_MEMORY;
    }));
  }
  bool fine = true;
  for (const pid_t pid : children) fine = Ends(pid) && fine;
  return fine;
}

/// Runs `body` while threads do something over and over.
template <class Something, class Body>
bool Meanwhile(Something&& something, Body&& body) {
  std::atomic<bool> end = false, fine = true;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      while (!end) {
        if (!something()) fine = false;
      }
    });
  }
  if (!body()) fine = false;
  end = true;
  for (std::thread& thread : threads) thread.join();
  return fine;
}

TEST_CASE("Children that use CUDA, of a process whose threads ask NVML all the time, are held to the limit and leave nothing charged") {
  const Tenants tenants(kAtOnce * kPart, kProfile);
  CHECK(Ends(Child([] {
    UsedByNvml();
    const auto ask = [] { return UsedByNvml() <= kAtOnce * kPart; };
    return Meanwhile(ask, [] {
      bool fine = true;
      for (unsigned round = 0; round < 40 && fine; ++round) fine = HaveChildrenWithCuda();
      return fine;
    });
  })));
  CHECK(tenants.IsFree(kAtOnce * kPart));
  CHECK(tenants.Used() == 0);
}

/// The fake libraries' own beginning, past the hooks: they are not made to be forked in the midst of it, libpartage.so is.
void BeginFakeDriver() {
  CUdeviceptr pointer = 0;
  reinterpret_cast<decltype(&cuMemAlloc_v2)>(fakeCudaAddress("cuMemAlloc_v2"))(&pointer, 1);
  fakeNvmlCalls("nvmlInit_v2");
}

/// Answered by the library alone.
bool AskForProcesses() {
  nvmlDevice_t device = nullptr;
  nvmlProcessInfo_t list[16];
  unsigned count = 16;
  const bool fine = nvmlInit_v2() == NVML_SUCCESS && nvmlDeviceGetHandleByIndex_v2(0, &device) == NVML_SUCCESS &&
                    nvmlDeviceGetComputeRunningProcesses_v3(device, &count, list) == NVML_SUCCESS;
  nvmlShutdown();
  return fine;
}

TEST_CASE("Children forked while another thread is the first to ask the driver do not wait for it for ever") {
  const Tenants tenants(kAtOnce * kPart, kProfile);
  for (unsigned i = 0; i < 15; ++i) {
    CHECK(Ends(Child([] {
      BeginFakeDriver();
      return Meanwhile(AskForProcesses, HaveChildrenWithCuda);
    })));
  }
  CHECK(tenants.IsFree(kAtOnce * kPart));
}

TEST_CASE("A process that execs itself again and again while it holds all that it may have gets it again each time") {
  constexpr unsigned kChains = 3;
  const Tenants tenants(kChains * 4 * kMiB, kProfile);
  setenv("PARTAGE_TEST_TAKES", std::to_string(4 * kMiB).c_str(), 1);
  setenv("PARTAGE_TEST_EXECS", "40", 1);
  std::vector<pid_t> chains;
  for (unsigned i = 0; i < kChains; ++i) chains.push_back(Child([] { return ExecTaker(), false; }));
  for (const pid_t pid : chains) CHECK(Ends(pid));
  unsetenv("PARTAGE_TEST_EXECS");
  CHECK(tenants.IsFree(kChains * 4 * kMiB));
  CHECK(tenants.Used() == 0);
}

TEST_CASE("A program that takes what it is told to and execs itself", "[.child]") {
  const char* const takes = std::getenv("PARTAGE_TEST_TAKES");
  if (takes == nullptr) return;
  alarm(kPatienceS);
  CUcontext context = Start();
  const std::uint64_t bytes = std::strtoull(takes, nullptr, 10), part = bytes / 4;
  Block blocks[4];
  for (unsigned i = 0; i < 4; ++i) REQUIRE(Take(kWaysWithoutPools[i], PieceOf(kWaysWithoutPools[i], part), &blocks[i]) == CUDA_SUCCESS);
  const char* const left = std::getenv("PARTAGE_TEST_EXECS");
  if (left == nullptr || std::atoi(left) == 0) return;  // without freeing anything
  setenv("PARTAGE_TEST_EXECS", std::to_string(std::atoi(left) - 1).c_str(), 1);
  std::thread busy([&] {
    cuCtxSetCurrent(context);
    for (;;) {
      const bool again = Free(blocks[0]) == CUDA_SUCCESS && Take(Way::kLinear, part, &blocks[0]) == CUDA_SUCCESS;
      if (!again) _exit(1);
    }
  });
  usleep(1000);
  ExecTaker();
  busy.join();
}

}  // namespace
}  // namespace partage::intercept
