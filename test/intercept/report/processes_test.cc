// SPDX-License-Identifier: Apache-2.0
// What a limited process is told of processes by NVML while a neighbour from another container is on the same GPU, which the driver itself lists.
#include <catch2/catch.hpp>

#include <sys/prctl.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "shm/limits.h"
#include "test/support/libcuda/client.h"
#include "test/support/libcuda/linked.h"
#include "test/support/temp_folder.h"

namespace partage::intercept {

namespace {

using test::Child;
using test::Expect;

constexpr std::uint64_t kMiB = 1U << 20;
const std::string kUuid = "GPU-11111111-1111-1111-1111-111111111111";

/// A GPU that two containers share: ours, of 2 GiB, and one that is not limited.
class SharedNode {
 public:
  explicit SharedNode(const std::string& profile = "") {
    shm::LimitsContent content;
    content.devices = 1;
    std::strcpy(content.device[0].uuid, kUuid.c_str());
    content.device[0].memory_bytes = 2048 * kMiB;
    REQUIRE(shm::WriteLimits((folder_.path() + "/limits").c_str(), content) == shm::Fault::kNone);
    neighbour_ = {{"FAKE_CUDA", "device uuid=" + kUuid + " memory=16G; context 100M; shm " + folder_.path() + "/gpus; " + profile}};
    ours_ = neighbour_;
    ours_["PARTAGE_LIMITS"] = folder_.path() + "/limits";
    ours_["PARTAGE_USAGE"] = folder_.path() + "/usage";
  }
  const Child::Environment& ours() const { return ours_; }
  const Child::Environment& neighbour() const { return neighbour_; }

 private:
  test::TempFolder folder_;
  Child::Environment ours_, neighbour_;
};

/// One says something that another waits for.
class Signal {
 public:
  Signal() { REQUIRE(pipe(ends_) == 0); }
  ~Signal() {
    close(ends_[0]);
    close(ends_[1]);
  }
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;
  void Give() const { Expect(write(ends_[1], "x", 1) == 1); }
  void Await() const {
    char byte = 0;
    Expect(read(ends_[0], &byte, 1) == 1);
  }

 private:
  int ends_[2] = {-1, -1};
};

void UseDevice() {
  CUcontext context = nullptr;
  Expect(cuInit(0) == CUDA_SUCCESS);
  Expect(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
  Expect(cuCtxSetCurrent(context) == CUDA_SUCCESS);
}

void Hold(std::uint64_t mib) {
  CUdeviceptr pointer = 0;
  UseDevice();
  Expect(cuMemAlloc_v2(&pointer, mib * kMiB) == CUDA_SUCCESS);
}

nvmlDevice_t Device() {
  nvmlDevice_t device = nullptr;
  Expect(nvmlInit_v2() == NVML_SUCCESS);
  Expect(nvmlDeviceGetHandleByIndex_v2(0, &device) == NVML_SUCCESS);
  return device;
}

/// Who is listed with how much, sorted by process.
using Listed = std::vector<std::pair<unsigned, unsigned long long>>;

template <class Info>
Listed List(nvmlReturn_t (*function)(nvmlDevice_t, unsigned*, Info*)) {
  Info infos[8] = {};
  unsigned count = 8;
  Expect(function(Device(), &count, infos) == NVML_SUCCESS && count <= 8);
  Listed listed;
  for (unsigned i = 0; i < count; ++i) listed.emplace_back(infos[i].pid, infos[i].usedGpuMemory);
  std::sort(listed.begin(), listed.end());
  return listed;
}

nvmlReturn_t Details(nvmlDevice_t device, unsigned* count, nvmlProcessDetail_v1_t* infos) {
  nvmlProcessDetailList_t list{NvmlStructVersion(sizeof(list), 1), 0, *count, infos};
  const nvmlReturn_t result = nvmlDeviceGetRunningProcessDetailList(device, &list);
  *count = list.numProcArrayEntries;
  return result;
}

/// Whether the last sampled period shows exactly, or at least, these processes at work; by both functions.
template <class Compare>
bool AtWork(const std::vector<unsigned>& expected, Compare&& compare) {
  nvmlProcessUtilizationSample_t samples[8] = {};
  unsigned count = 8;
  std::vector<unsigned> first, second;
  if (nvmlDeviceGetProcessUtilization(Device(), samples, &count, 0) == NVML_SUCCESS) {
    for (unsigned i = 0; i < count; ++i) first.push_back(samples[i].pid);
  }
  nvmlProcessUtilizationInfo_v1_t infos[8] = {};
  nvmlProcessesUtilizationInfo_t all{};
  all.version = NvmlStructVersion(sizeof(all), 1);
  all.processSamplesCount = 8;
  all.procUtilArray = infos;
  if (nvmlDeviceGetProcessesUtilizationInfo(Device(), &all) == NVML_SUCCESS) {
    for (unsigned i = 0; i < all.processSamplesCount; ++i) second.push_back(infos[i].pid);
  }
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  return compare(first, expected) && compare(second, expected);
}

bool Exactly(const std::vector<unsigned>& seen, const std::vector<unsigned>& expected) { return seen == expected; }
bool AtLeast(const std::vector<unsigned>& seen, const std::vector<unsigned>& expected) {
  return std::includes(seen.begin(), seen.end(), expected.begin(), expected.end());
}

[[noreturn]] void WorkForEver() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that is killed leaves nobody behind
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  UseDevice();
  Expect(cuModuleLoadData(&module, "any image") == CUDA_SUCCESS);
  Expect(cuModuleGetFunction(&function, module, "spin_5ms") == CUDA_SUCCESS);
  for (;;) {
    Expect(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr) == CUDA_SUCCESS);
    Expect(cuCtxSynchronize() == CUDA_SUCCESS);
  }
}

}  // namespace

TEST_CASE("Processes of this container are listed without the neighbour, and what they hold is together what NVML and CUDA call used") {
  const SharedNode node;
  const Signal ready, done;
  Child neighbour(node.neighbour(), [&] { Hold(700), ready.Give(), done.Await(); });
  Child sibling(node.ours(), [&] { Hold(300), ready.Give(), done.Await(); });
  ready.Await();
  ready.Await();
  const auto other = static_cast<unsigned>(neighbour.pid());
  CHECK(Child(node.neighbour(),
              [&] {  // the driver does list it
                const Listed all = List(nvmlDeviceGetComputeRunningProcesses_v3);
                Expect(
                    std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.first == other && one.second >= 700 * kMiB; }));
                Expect(all.size() == 2);
              })
            .Good());
  CHECK(Child(node.ours(), [&] {
          Hold(150);
          const Listed list = List(nvmlDeviceGetComputeRunningProcesses_v3);
          Expect(list.size() == 2);
          Expect(list[0].first == static_cast<unsigned>(sibling.pid()) && list[1].first == static_cast<unsigned>(getpid()));
          Expect(list[0].second >= 400 * kMiB && list[1].second >= 250 * kMiB);  // their contexts, too
          Expect(List(nvmlDeviceGetComputeRunningProcesses) == list);
          Expect(List(nvmlDeviceGetComputeRunningProcesses_v2) == list);
          Expect(List(Details) == list);

          std::size_t free = 0, total = 0;
          Expect(cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS);
          nvmlMemory_t memory{};
          Expect(nvmlDeviceGetMemoryInfo(Device(), &memory) == NVML_SUCCESS);
          const auto add = [](unsigned long long sum, const auto& one) { return sum + one.second; };
          const unsigned long long sum = std::accumulate(list.begin(), list.end(), 0ULL, add);
          Expect(sum == total - free);
          Expect(sum == memory.used);
        }).Good());
  done.Give();
  done.Give();
  CHECK(neighbour.Good());
  CHECK(sibling.Good());
}

TEST_CASE("Utilisation by process shows a sibling and not the neighbour that the driver lists, in both forms") {
  const SharedNode node("nvml_period 50ms; nvml_lag 10ms");
  Child neighbour(node.neighbour(), WorkForEver);
  Child sibling(node.ours(), WorkForEver);
  std::vector<unsigned> both = {static_cast<unsigned>(neighbour.pid()), static_cast<unsigned>(sibling.pid())};
  std::sort(both.begin(), both.end());
  const auto within = [](const auto& seen) {
    for (int i = 0; i < 500; ++i) {
      if (seen()) return true;
      usleep(20'000);
    }
    return false;
  };
  CHECK(Child(node.neighbour(), [&] { Expect(within([&] { return AtWork(both, AtLeast); })); }).Good());
  CHECK(Child(node.ours(), [&] {
          UseDevice();
          const std::vector<unsigned> own = {static_cast<unsigned>(sibling.pid())};
          Expect(within([&] { return AtWork(own, Exactly); }));
          for (int i = 0; i < 20; ++i, usleep(20'000)) Expect(!AtWork({static_cast<unsigned>(neighbour.pid())}, AtLeast));
        }).Good());
  CHECK(Child(node.neighbour(), [&] { Expect(within([&] { return AtWork(both, AtLeast); })); }).Good());  // all the while
  for (const pid_t process : {neighbour.pid(), sibling.pid()}) kill(process, SIGKILL);
}

TEST_CASE("Where NVML hides processes or counts them from another namespace, not a byte more is had, and a context is charged") {
  for (const char* hidden : {"host_pids hidden", "host_pids offset 100000"}) {
    INFO(hidden);
    const SharedNode node(hidden);
    CHECK(Child(node.ours(), [&] {
            UseDevice();
            std::size_t free = 0, total = 0;
            CUdeviceptr pointer = 0;
            Expect(cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS && total == 2048 * kMiB);
            Expect(total - free >= 100 * kMiB);
            Expect(cuMemAlloc_v2(&pointer, free + 1) == CUDA_ERROR_OUT_OF_MEMORY);
            Expect(cuMemAlloc_v2(&pointer, free) == CUDA_SUCCESS);
            Expect(cuMemAlloc_v2(&pointer, 1) == CUDA_ERROR_OUT_OF_MEMORY);
          }).Good());
  }
}

}  // namespace partage::intercept
