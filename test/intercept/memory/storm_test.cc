// SPDX-License-Identifier: Apache-2.0
// Many processes with several threads each, all allocating and freeing against one limit.
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "test/intercept/memory/gpu.h"
#include "test/intercept/memory/tenants.h"

namespace partage::intercept {
namespace {

// Exactly the GPU's memory: what the library let through above the limit would fail in the driver.
constexpr std::uint64_t kLimit = 64 * kMiB;
const std::string kProfile = "device memory=64M; memory_granularity 1";
constexpr std::uint64_t kLargest = 4 * kMiB;

bool FreeOne(std::vector<CUdeviceptr>& mine, std::size_t which) {
  std::swap(mine[which % mine.size()], mine.back());
  const bool freed = cuMemFree_v2(mine.back()) == CUDA_SUCCESS;
  mine.pop_back();
  return freed;
}

/// Allocates `times` times, freeing at random and where there is no room. False when anything but "fits" or "does not fit" was answered.
bool Churn(CUcontext context, unsigned seed, unsigned times, std::atomic<std::int64_t>& allocated) {
  std::mt19937 random(seed);
  std::vector<CUdeviceptr> mine;
  if (cuCtxSetCurrent(context) != CUDA_SUCCESS) return false;
  for (unsigned done = 0; done < times || !mine.empty();) {
    CUdeviceptr pointer = 0;
    const bool want = done < times && (mine.empty() || random() % 3 != 0);
    const CUresult result = want ? cuMemAlloc_v2(&pointer, random() % kLargest + 1) : CUDA_ERROR_OUT_OF_MEMORY;
    if (result == CUDA_SUCCESS) {
      mine.push_back(pointer);
      ++allocated;
      ++done;
    } else if (result != CUDA_ERROR_OUT_OF_MEMORY || (!mine.empty() && !FreeOne(mine, random()))) {
      return false;
    } else if (mine.empty()) {
      sched_yield();  // the others have it all
    }
  }
  return true;
}

/// Churns on several threads. False too when the driver had to refuse something: it was let through above the limit.
bool ChurnOnThreads(unsigned seed, unsigned threads, unsigned times) {
  CUcontext context = Start();
  std::atomic<std::int64_t> allocated{0};
  std::atomic<bool> fine{true};
  std::vector<std::thread> running;
  for (unsigned t = 0; t < threads; ++t) {
    running.emplace_back([&, t] {
      if (!Churn(context, seed * 100 + t, times, allocated)) fine = false;
    });
  }
  for (auto& thread : running) thread.join();
  return fine && DriverCalls("cuMemAlloc_v2") == allocated;
}

TEST_CASE("Processes with threads that churn against one limit never exceed it, and leave nothing charged") {
  const Tenants tenants(kLimit, kProfile);
  std::vector<pid_t> children;
  for (unsigned i = 0; i < 16; ++i) children.push_back(Child([i] { return ChurnOnThreads(i, 3, 200); }));
  for (const pid_t pid : children) CHECK(Succeeded(pid));
  CHECK(tenants.IsFree(kLimit));
}

TEST_CASE("Processes killed while they churn take their charges with them") {
  const Tenants tenants(kLimit, kProfile);
  std::vector<pid_t> victims, others;
  for (unsigned i = 0; i < 6; ++i) victims.push_back(Child([i] { return ChurnOnThreads(i, 2, 1'000'000); }));
  for (unsigned i = 6; i < 10; ++i) others.push_back(Child([i] { return Start() != nullptr && ChurnOnThreads(i, 2, 200); }));
  std::mt19937 random(1);
  for (const pid_t pid : victims) {
    usleep(2000 + random() % 5000);
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  for (const pid_t pid : others)
    CHECK(waitpid(pid, nullptr, 0) == pid);  // the fake GPU may be behind with the dead, so the driver may refuse here
  CHECK(tenants.IsFree(kLimit));
  CHECK(tenants.Used() == 0);
}

TEST_CASE("A forked child holds nothing of its parent's, and frees none of it") {
  const Tenants tenants(kLimit, kProfile);
  CHECK(Succeeded(Child([&] {
    Start();
    CUdeviceptr pointer = 0;
    if (cuMemAlloc_v2(&pointer, kLargest) != CUDA_SUCCESS) return false;
    const bool child = Succeeded(Child([&] { return cuMemFree_v2(pointer) != CUDA_SUCCESS; }));  // CUDA does not survive a fork
    return child && tenants.Used() == kLargest && cuMemFree_v2(pointer) == CUDA_SUCCESS && tenants.Used() == 0;
  })));
}

}  // namespace
}  // namespace partage::intercept
