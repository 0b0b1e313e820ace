// SPDX-License-Identifier: Apache-2.0
// Many processes with several threads each, all allocating and freeing against one limit.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "shm/limits.h"
#include "shm/region.h"
#include "test/intercept/memory/gpu.h"

namespace partage::intercept {
namespace {

constexpr std::uint64_t kLimit = 64 * Gpu::kMiB;
constexpr std::uint64_t kLargest = 4 * Gpu::kMiB;

/// A share of exactly the GPU's memory, in a folder of its own: an allocation that the library let through above the limit fails in the driver.
class Tenants {
 public:
  Tenants() {
    char folder[] = "/tmp/partage-storm-XXXXXX";
    REQUIRE(mkdtemp(folder) != nullptr);
    folder_ = folder;
    shm::LimitsContent content;
    content.devices = 1;
    std::strcpy(content.device[0].uuid, "GPU-5eed0000-0000-4000-8000-000000000001");
    content.device[0].memory_bytes = kLimit;
    REQUIRE(shm::WriteLimits((folder_ + "/limits").c_str(), content) == shm::Fault::kNone);
    setenv("PARTAGE_LIMITS", (folder_ + "/limits").c_str(), 1);
    setenv("PARTAGE_USAGE", (folder_ + "/usage").c_str(), 1);
    setenv("FAKE_CUDA", ("device memory=64M; memory_granularity 1; shm " + folder_ + "/gpu").c_str(), 1);
  }
  ~Tenants() { std::filesystem::remove_all(folder_); }
  Tenants(const Tenants&) = delete;
  Tenants& operator=(const Tenants&) = delete;

  std::uint64_t Used() const {
    shm::Region usage;
    REQUIRE(usage.OpenReadOnly((folder_ + "/usage").c_str()) == shm::Fault::kNone);
    return usage.Used(0);
  }

  /// Whether somebody who comes now gets the whole share.
  bool WholeShareIsFree() const;

 private:
  std::string folder_;
};

/// Runs `body` in a child; it must not return before all is well, and says so by true.
template <class Body>
pid_t Child(Body&& body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body() ? 0 : 1);
  return pid;
}

bool Succeeded(pid_t pid) {
  int status = 0;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

CUcontext Start() {
  CUcontext context = nullptr;
  if (cuInit(0) != CUDA_SUCCESS || cuDevicePrimaryCtxRetain(&context, 0) != CUDA_SUCCESS || cuCtxSetCurrent(context) != CUDA_SUCCESS)
    _exit(2);
  return context;
}

bool Tenants::WholeShareIsFree() const {
  return Succeeded(Child([] {
    Start();
    CUdeviceptr pointer = 0;
    return cuMemAlloc_v2(&pointer, kLimit) == CUDA_SUCCESS && cuMemFree_v2(pointer) == CUDA_SUCCESS;
  }));
}

/// Random allocations and frees. False when anything but "fits" or "does not fit" was answered.
bool Churn(CUcontext context, unsigned seed, unsigned steps, std::atomic<std::int64_t>& allocated) {
  std::mt19937 random(seed);
  std::vector<CUdeviceptr> mine;
  if (cuCtxSetCurrent(context) != CUDA_SUCCESS) return false;
  for (unsigned step = 0; step < steps || !mine.empty(); ++step) {
    if (step < steps && random() % 3 != 0) {
      CUdeviceptr pointer = 0;
      const CUresult result = cuMemAlloc_v2(&pointer, random() % kLargest + 1);
      if (result == CUDA_ERROR_OUT_OF_MEMORY) continue;
      if (result != CUDA_SUCCESS) return false;
      ++allocated;
      mine.push_back(pointer);
    } else if (!mine.empty()) {
      std::swap(mine[random() % mine.size()], mine.back());
      if (cuMemFree_v2(mine.back()) != CUDA_SUCCESS) return false;
      mine.pop_back();
    }
  }
  return true;
}

/// Churns on several threads. False too when the driver had to refuse something: it was let through above the limit.
bool ChurnOnThreads(unsigned seed, unsigned threads, unsigned steps) {
  CUcontext context = Start();
  std::atomic<std::int64_t> allocated{0};
  std::atomic<bool> fine{true};
  std::vector<std::thread> running;
  for (unsigned t = 0; t < threads; ++t) {
    running.emplace_back([&, t] {
      if (!Churn(context, seed * 100 + t, steps, allocated)) fine = false;
    });
  }
  for (auto& thread : running) thread.join();
  return fine && allocated > 0 && DriverCalls("cuMemAlloc_v2") == allocated;
}

TEST_CASE("Processes with threads that churn against one limit never exceed it, and leave nothing charged") {
  const Tenants tenants;
  std::vector<pid_t> children;
  for (unsigned i = 0; i < 16; ++i) children.push_back(Child([i] { return ChurnOnThreads(i, 3, 300); }));
  for (const pid_t pid : children) CHECK(Succeeded(pid));
  CHECK(tenants.WholeShareIsFree());
}

TEST_CASE("Processes killed while they churn take their charges with them") {
  const Tenants tenants;
  std::vector<pid_t> victims, others;
  for (unsigned i = 0; i < 6; ++i) victims.push_back(Child([i] { return ChurnOnThreads(i, 2, 1'000'000); }));
  for (unsigned i = 6; i < 10; ++i) others.push_back(Child([i] { return Start() != nullptr && ChurnOnThreads(i, 2, 300); }));
  std::mt19937 random(1);
  for (const pid_t pid : victims) {
    usleep(2000 + random() % 5000);
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  for (const pid_t pid : others)
    CHECK(waitpid(pid, nullptr, 0) == pid);  // the fake GPU may be behind with the dead, so the driver may refuse here
  CHECK(tenants.WholeShareIsFree());
  CHECK(tenants.Used() == 0);
}

TEST_CASE("A forked child holds nothing of its parent's, and frees none of it") {
  const Tenants tenants;
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
