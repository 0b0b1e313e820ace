// SPDX-License-Identifier: Apache-2.0
// What CUDA and NVML tell a limited program, asked as one linked with both: libpartage.so preloaded over the fake driver.
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>

#include <cstring>
#include <string>
#include <vector>

#include "shm/limits.h"
#include "shm/region.h"
#include "test/support/libcuda/client.h"
#include "test/support/libcuda/control.h"
#include "test/support/libcuda/linked.h"
#include "test/support/temp_folder.h"

namespace partage::intercept {

namespace {

using test::Child;
using test::Expect;

constexpr std::uint64_t kMiB = 1U << 20;
const std::string kFirst = "GPU-11111111-1111-1111-1111-111111111111";
const std::string kSecond = "GPU-22222222-2222-2222-2222-222222222222";
const std::string kThird = "GPU-33333333-3333-3333-3333-333333333333";

/// A node of three GPUs in NVML's order first, second, third; CUDA counts third, first, second. The container may use 1 GiB of the third, 2 GiB of the
/// first, listed in this order, and all of the second.
class Node {
 public:
  Node() {
    content_.devices = 2;
    std::strcpy(content_.device[0].uuid, kThird.c_str());
    content_.device[0].memory_bytes = 1024 * kMiB;
    std::strcpy(content_.device[1].uuid, kFirst.c_str());
    content_.device[1].memory_bytes = 2048 * kMiB;
    REQUIRE(shm::WriteLimits(limits().c_str(), content_) == shm::Fault::kNone);
  }

  Child::Environment With(const Child::Environment& more) const {
    Child::Environment all = {{"PARTAGE_LIMITS", limits()},
                              {"PARTAGE_USAGE", folder_.path() + "/usage"},
                              {"FAKE_CUDA", "device uuid=" + kFirst + " memory=16G; device uuid=" + kSecond + " memory=16G; device uuid=" +
                                                kThird + " memory=16G; cuda_order 2 0 1; shm " + folder_.path() + "/gpus"}};
    for (const auto& [name, value] : more) all[name] = value;
    return all;
  }

  std::string limits() const { return folder_.path() + "/limits"; }
  std::string usage() const { return folder_.path() + "/usage"; }

 private:
  test::TempFolder folder_;
  shm::LimitsContent content_;
};

void UseDevice(CUdevice device) {
  CUcontext context = nullptr;
  Expect(cuInit(0) == CUDA_SUCCESS);
  Expect(cuDevicePrimaryCtxRetain(&context, device) == CUDA_SUCCESS);
  Expect(cuCtxSetCurrent(context) == CUDA_SUCCESS);
}

size_t CudaTotal() {
  size_t free = 0;
  size_t total = 0;
  Expect(cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS);
  Expect(free <= total);
  return total / kMiB;
}

size_t DeviceTotal(CUdevice device) {
  size_t total = 0;
  Expect(cuDeviceTotalMem_v2(&total, device) == CUDA_SUCCESS);
  return total / kMiB;
}

nvmlDevice_t NvmlDevice(unsigned index) {
  nvmlDevice_t device = nullptr;
  Expect(nvmlInit_v2() == NVML_SUCCESS);
  Expect(nvmlDeviceGetHandleByIndex_v2(index, &device) == NVML_SUCCESS);
  return device;
}

nvmlMemory_v2_t NvmlMemory(nvmlDevice_t device) {
  nvmlMemory_v2_t memory{.version = NvmlStructVersion(sizeof(memory), 2)};
  Expect(nvmlDeviceGetMemoryInfo_v2(device, &memory) == NVML_SUCCESS);
  Expect(memory.free + memory.used + memory.reserved == memory.total);
  return memory;
}

std::vector<nvmlProcessInfo_t> Processes(nvmlDevice_t device) {
  unsigned count = 8;
  std::vector<nvmlProcessInfo_t> list(count);
  Expect(nvmlDeviceGetComputeRunningProcesses_v3(device, &count, list.data()) == NVML_SUCCESS);
  list.resize(count);
  return list;
}

}  // namespace

TEST_CASE("Devices are known by their UUID, though CUDA and NVML count them differently") {
  const Node node;
  CHECK(Child(node.With({}), [] {
          UseDevice(0);
          Expect(CudaTotal() == 1024);
          Expect(DeviceTotal(0) == 1024);
          Expect(DeviceTotal(1) == 2048);
          Expect(DeviceTotal(2) == 16384);
          Expect(NvmlMemory(NvmlDevice(0)).total == 2048 * kMiB);
          Expect(NvmlMemory(NvmlDevice(1)).total == 16384 * kMiB);
          Expect(NvmlMemory(NvmlDevice(2)).total == 1024 * kMiB);
        }).Good());
}

TEST_CASE("CUDA_VISIBLE_DEVICES by number, by UUID or by the beginning of one changes nothing of it") {
  const Node node;
  CHECK(Child(node.With({{"CUDA_VISIBLE_DEVICES", "1"}}), [] {
          UseDevice(0), Expect(CudaTotal() == 2048 && DeviceTotal(0) == 2048);
        }).Good());
  CHECK(Child(node.With({{"CUDA_VISIBLE_DEVICES", kSecond + "," + kFirst}}), [] {
          UseDevice(1);
          Expect(CudaTotal() == 2048 && DeviceTotal(0) == 16384);
        }).Good());
  CHECK(Child(node.With({{"CUDA_VISIBLE_DEVICES", "GPU-33"}}), [] { UseDevice(0), Expect(CudaTotal() == 1024); }).Good());
  CHECK(Child(node.With({{"CUDA_DEVICE_ORDER", "PCI_BUS_ID"}}), [] {
          UseDevice(2);
          Expect(CudaTotal() == 1024 && DeviceTotal(0) == 2048);
        }).Good());
}

TEST_CASE("A device without a limit is shown as it is") {
  const Node node;
  CHECK(Child(node.With({}), [] {
          UseDevice(2);
          CUdeviceptr pointer = 0;
          Expect(cuMemAlloc_v2(&pointer, 4096 * kMiB) == CUDA_SUCCESS);
          Expect(CudaTotal() == 16384);
          Expect(NvmlMemory(NvmlDevice(1)).used >= 4096 * kMiB);
        }).Good());
}

TEST_CASE("CUDA and NVML agree on what is used and free, in both forms of NVML, and outputs may be null") {
  const Node node;
  CHECK(Child(node.With({}), [] {
          UseDevice(0);
          CUdeviceptr pointer = 0;
          Expect(cuMemAlloc_v2(&pointer, 300 * kMiB) == CUDA_SUCCESS);
          size_t free = 0;
          size_t total = 0;
          Expect(cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS);
          Expect(total - free >= 300 * kMiB && total - free < 400 * kMiB);
          const nvmlMemory_v2_t second = NvmlMemory(NvmlDevice(2));
          Expect(second.free == free && second.total == total);
          nvmlMemory_t first{};
          Expect(nvmlDeviceGetMemoryInfo(NvmlDevice(2), &first) == NVML_SUCCESS);
          Expect(first.free == free && first.total == total && first.used == total - free);
          Expect(cuMemGetInfo_v2(nullptr, &total) == CUDA_SUCCESS && total == 1024 * kMiB);
          Expect(cuMemGetInfo_v2(&free, nullptr) == CUDA_SUCCESS && free == first.free);
          Expect(cuMemGetInfo_v2(nullptr, nullptr) == CUDA_SUCCESS);
        }).Good());
}

TEST_CASE("What a neighbour holds beyond its due shows as less free, never as more used") {
  const Node node;
  Child::Environment neighbour = node.With({});
  neighbour.erase("PARTAGE_LIMITS");
  int ready[2];
  int done[2];
  REQUIRE(pipe(ready) == 0);
  REQUIRE(pipe(done) == 0);
  char byte = 0;
  Child greedy(neighbour, [&] {
    UseDevice(0);
    CUdeviceptr pointer = 0;
    Expect(cuMemAlloc_v2(&pointer, (16384 - 512) * kMiB) == CUDA_SUCCESS);
    Expect(write(ready[1], &byte, 1) == 1 && read(done[0], &byte, 1) == 1);
  });
  REQUIRE(read(ready[0], &byte, 1) == 1);
  CHECK(Child(node.With({}), [] {
          UseDevice(0);
          const nvmlMemory_v2_t memory = NvmlMemory(NvmlDevice(2));
          Expect(memory.total == 1024 * kMiB);
          Expect(memory.free <= 512 * kMiB);
          Expect(memory.used < 100 * kMiB);
          nvmlMemory_t first{};  // knows no third figure: what is out of reach counts as used
          Expect(nvmlDeviceGetMemoryInfo(NvmlDevice(2), &first) == NVML_SUCCESS);
          Expect(first.total == memory.total && first.free <= 512 * kMiB && first.used == first.total - first.free);
        }).Good());
  REQUIRE(write(done[1], &byte, 1) == 1);
  CHECK(greedy.Good());
}

TEST_CASE("NVML lists this container's processes with what each holds, in every form, and nobody else's") {
  const Node node;
  CHECK(Child(node.With({}), [] {
          UseDevice(0);
          CUdeviceptr pointer = 0;
          Expect(cuMemAlloc_v2(&pointer, 100 * kMiB) == CUDA_SUCCESS);
          const nvmlDevice_t device = NvmlDevice(2);
          const auto list = Processes(device);
          Expect(list.size() == 1 && list[0].pid == static_cast<unsigned>(getpid()) && list[0].usedGpuMemory >= 100 * kMiB);

          unsigned count = 0;
          Expect(nvmlDeviceGetComputeRunningProcesses_v3(device, &count, nullptr) == NVML_ERROR_INSUFFICIENT_SIZE && count == 1);
          nvmlProcessInfo_v1_t first[2] = {};
          count = 2;
          Expect(nvmlDeviceGetComputeRunningProcesses(device, &count, first) == NVML_SUCCESS && count == 1);
          Expect(first[0].pid == list[0].pid && first[0].usedGpuMemory == list[0].usedGpuMemory);
          nvmlProcessInfo_t second[2] = {};
          count = 2;
          Expect(nvmlDeviceGetComputeRunningProcesses_v2(device, &count, second) == NVML_SUCCESS && count == 1);
          Expect(second[0].pid == list[0].pid);
          count = 2;
          Expect(nvmlDeviceGetGraphicsRunningProcesses_v3(device, &count, second) == NVML_SUCCESS && count == 0);
          nvmlProcessDetail_v1_t details[2] = {};
          nvmlProcessDetailList_t all{NvmlStructVersion(sizeof(all), 1), 0, 2, details};
          Expect(nvmlDeviceGetRunningProcessDetailList(device, &all) == NVML_SUCCESS && all.numProcArrayEntries == 1);
          Expect(details[0].pid == list[0].pid && details[0].usedGpuMemory == list[0].usedGpuMemory);
          Expect(nvmlDeviceGetComputeRunningProcesses_v3(device, nullptr, second) == NVML_ERROR_INVALID_ARGUMENT);
          Expect(Processes(NvmlDevice(0)).empty());
          Expect(cuMemFree_v2(pointer) == CUDA_SUCCESS);
        }).Good());
}

TEST_CASE("Utilisation is what the agent measured of the container, while it is fresh") {
  const Node node;
  CHECK(Child(node.With({}), [&] {
          const nvmlDevice_t device = NvmlDevice(2);
          const int file = open(node.limits().c_str(), O_RDWR);
          auto* const layout =
              static_cast<shm::LimitsLayout*>(mmap(nullptr, sizeof(shm::LimitsLayout), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
          const auto percent = [device] {
            nvmlUtilization_t utilization{77, 77};
            Expect(nvmlDeviceGetUtilizationRates(device, &utilization) == NVML_SUCCESS);
            return utilization.gpu;
          };
          timespec now{};
          clock_gettime(CLOCK_MONOTONIC, &now);
          const auto stamp = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000;
          layout->agent[0].utilisation_ppm.store(300'000);
          Expect(percent() == 0);  // the idle device's
          layout->agent[0].stamp_ns.store(stamp);
          Expect(percent() == 30);
          layout->agent[0].utilisation_ppm.store(2'000'000);
          Expect(percent() == 100);
          layout->agent[0].stamp_ns.store(stamp > 60'000'000'000 ? stamp - 60'000'000'000 : 1);
          Expect(percent() == 0);
        }).Good());
}

template <class Info>
void ExpectEmptyWithoutAsking(nvmlReturn_t (*function)(nvmlDevice_t, unsigned*, Info*), const char* name) {
  Info list[3];
  unsigned count = 3;
  Expect(function(NvmlDevice(2), &count, list) == NVML_SUCCESS && count == 0 && fakeNvmlCalls(name) == 0);
  Expect(function(NvmlDevice(1), &count, list) == NVML_SUCCESS && fakeNvmlCalls(name) == 1);  // all of it is ours
}

TEST_CASE("Graphics and MPS lists, which cannot be told apart by container, are empty without asking the driver") {
  const Node node;
  CHECK(Child(node.With({}), [] {
          ExpectEmptyWithoutAsking(nvmlDeviceGetGraphicsRunningProcesses, "nvmlDeviceGetGraphicsRunningProcesses");
          ExpectEmptyWithoutAsking(nvmlDeviceGetGraphicsRunningProcesses_v2, "nvmlDeviceGetGraphicsRunningProcesses_v2");
          ExpectEmptyWithoutAsking(nvmlDeviceGetGraphicsRunningProcesses_v3, "nvmlDeviceGetGraphicsRunningProcesses_v3");
          ExpectEmptyWithoutAsking(nvmlDeviceGetMPSComputeRunningProcesses, "nvmlDeviceGetMPSComputeRunningProcesses");
          ExpectEmptyWithoutAsking(nvmlDeviceGetMPSComputeRunningProcesses_v2, "nvmlDeviceGetMPSComputeRunningProcesses_v2");
          ExpectEmptyWithoutAsking(nvmlDeviceGetMPSComputeRunningProcesses_v3, "nvmlDeviceGetMPSComputeRunningProcesses_v3");
        }).Good());
}

TEST_CASE("Utilisation by process is of this container's processes only") {
  const Node node;
  const auto work = [](int times) {
    CUmodule module = nullptr;
    CUfunction function = nullptr;
    UseDevice(0);
    Expect(cuModuleLoadData(&module, "any image") == CUDA_SUCCESS);
    Expect(cuModuleGetFunction(&function, module, "spin_20ms") == CUDA_SUCCESS);
    for (int i = 0; i < times; ++i) Expect(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr) == CUDA_SUCCESS);
    Expect(cuCtxSynchronize() == CUDA_SUCCESS);
  };
  Child::Environment neighbour = node.With({});
  neighbour.erase("PARTAGE_LIMITS");
  Child other(neighbour, [&] { work(40); });
  CHECK(Child(node.With({}), [&] {
          const auto pids = [] {
            nvmlProcessUtilizationSample_t samples[8] = {};
            unsigned count = 8;
            const nvmlReturn_t result = nvmlDeviceGetProcessUtilization(NvmlDevice(2), samples, &count, 0);
            Expect(result == (count == 0 ? NVML_ERROR_NOT_FOUND : NVML_SUCCESS));
            std::vector<unsigned> own;
            for (unsigned i = 0; i < count; ++i) own.push_back(samples[i].pid);
            return own;
          };
          work(20);
          for (const unsigned pid : pids()) Expect(pid == static_cast<unsigned>(getpid()));
          Expect(!pids().empty());
        }).Good());
  CHECK(other.Good());
}

TEST_CASE("A device of which only the time is shared out shows its memory whole and its processes as the container's") {
  const Node node;
  Child::Environment environment = node.With({{"NVIDIA_VISIBLE_DEVICES", kThird}, {"CUDA_DEVICE_SM_LIMIT", "40"}});
  environment.erase("PARTAGE_LIMITS");
  CHECK(Child(environment, [] {
          UseDevice(0);
          CUdeviceptr pointer = 0;
          Expect(cuMemAlloc_v2(&pointer, 100 * kMiB) == CUDA_SUCCESS);
          Expect(CudaTotal() == 16384);
          Expect(NvmlMemory(NvmlDevice(2)).total == 16384 * kMiB);
          Expect(NvmlMemory(NvmlDevice(2)).used >= 100 * kMiB);
        }).Good());
}

TEST_CASE("A limit that changes while the process runs is what it is told next") {
  const Node node;
  CHECK(Child(node.With({}), [&] {
          UseDevice(0);
          Expect(CudaTotal() == 1024);
          shm::LimitsContent content;
          shm::Limits limits;
          Expect(limits.Open(node.limits().c_str()) == shm::Fault::kNone && limits.Read(&content));
          content.device[0].memory_bytes = 3072 * kMiB;
          Expect(shm::WriteLimits(node.limits().c_str(), content) == shm::Fault::kNone);
          Expect(CudaTotal() == 3072);
          Expect(NvmlMemory(NvmlDevice(2)).total == 3072 * kMiB);
        }).Good());
}

TEST_CASE("HAMi's variables lower the file's limits by the file's order of devices, and never raise them") {
  const Node node;
  CHECK(Child(node.With({{"CUDA_DEVICE_MEMORY_LIMIT_0", "512m"}, {"CUDA_DEVICE_MEMORY_LIMIT_1", "8g"}, {"CUDA_DISABLE_CONTROL", "true"}}),
              [] {
                UseDevice(0);
                Expect(DeviceTotal(0) == 512);
                Expect(DeviceTotal(1) == 2048);
              })
            .Good());
}

TEST_CASE("Without a file HAMi's variables limit the devices that NVIDIA_VISIBLE_DEVICES lists, by UUID") {
  const Node node;
  Child::Environment environment = node.With(
      {{"NVIDIA_VISIBLE_DEVICES", kSecond + "," + kThird}, {"CUDA_DEVICE_MEMORY_LIMIT_0", "2g"}, {"CUDA_DEVICE_MEMORY_LIMIT_1", "3g"}});
  environment.erase("PARTAGE_LIMITS");
  CHECK(Child(environment, [] {
          UseDevice(0);
          Expect(DeviceTotal(0) == 3072);
          Expect(DeviceTotal(1) == 16384);
          Expect(DeviceTotal(2) == 2048);
          Expect(NvmlMemory(NvmlDevice(1)).total == 2048 * kMiB);
        }).Good());
}

TEST_CASE("A damaged limits file is refused with a message, and the process is not limited by it") {
  const test::TempFolder folder;
  const std::string path = folder.Write("limits", std::string(8192, 'x'));
  Node node;
  CHECK(Child(node.With({{"PARTAGE_LIMITS", path}}), [] {
          UseDevice(0);
          Expect(CudaTotal() == 16384);
        }).Good());
}

/// Memory is refused, the totals say so, and what is freed or asked for otherwise works.
void ExpectRefused() {
  CUcontext context = nullptr;
  CUdeviceptr pointer = 0;
  size_t free = 1, total = 1;
  Expect(cuInit(0) == CUDA_SUCCESS);
  Expect(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS && cuCtxSetCurrent(context) == CUDA_SUCCESS);
  Expect(cuMemAlloc_v2(&pointer, 4096) == CUDA_ERROR_OUT_OF_MEMORY);
  Expect(cuMemAllocAsync(&pointer, 4096, nullptr) == CUDA_ERROR_OUT_OF_MEMORY);
  Expect(cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS);
  Expect(cuCtxSynchronize() == CUDA_SUCCESS);
}

TEST_CASE("Told to refuse, a process with a damaged, foreign or missing limits file gets no memory") {
  const test::TempFolder folder;
  Node node;
  shm::LimitsContent content;
  std::strcpy(content.device[0].uuid, kThird.c_str());
  content.devices = 1;
  const std::string other_abi = folder.path() + "/abi";
  REQUIRE(shm::WriteLimits(other_abi.c_str(), content) == shm::Fault::kNone);
  const int file = open(other_abi.c_str(), O_RDWR);
  REQUIRE(pwrite(file, "\x63", 1, 8) == 1);
  close(file);
  for (const std::string& path :
       {folder.Write("damaged", std::string(8192, 'x')), folder.Write("short", "x"), other_abi, folder.path() + "/none"}) {
    INFO(path);
    CHECK(Child(node.With({{"PARTAGE_LIMITS", path}, {"PARTAGE_ON_FAULT", "refuse"}}), ExpectRefused).Good());
  }
}

TEST_CASE("Told to refuse, a process whose usage file cannot be used gets no memory, told to pass, it is limited by itself") {
  const test::TempFolder folder;
  const std::string damaged = folder.Write("usage", std::string(4096, 'x'));
  Node node;
  CHECK(Child(node.With({{"PARTAGE_USAGE", damaged}, {"PARTAGE_ON_FAULT", "refuse"}}), ExpectRefused).Good());
  CHECK(Child(node.With({{"PARTAGE_USAGE", damaged}, {"PARTAGE_ON_FAULT", "pass"}}), [] {
          UseDevice(0);
          CUdeviceptr pointer = 0;
          Expect(CudaTotal() == 1024);
          Expect(cuMemAlloc_v2(&pointer, 1000 * kMiB) == CUDA_SUCCESS);
          Expect(cuMemAlloc_v2(&pointer, 100 * kMiB) == CUDA_ERROR_OUT_OF_MEMORY);
        }).Good());
}

TEST_CASE("Without a list of UUIDs a variable's number is NVML's, whatever CUDA shows and in which order") {
  const Node node;
  Child::Environment environment =
      node.With({{"CUDA_DEVICE_MEMORY_LIMIT_0", "1g"}, {"CUDA_DEVICE_MEMORY_LIMIT_1", "2g"}, {"CUDA_DEVICE_MEMORY_LIMIT_2", "3g"}});
  environment.erase("PARTAGE_LIMITS");
  const auto nvml_agrees = [] {
    for (unsigned i = 0; i < 3; ++i) Expect(NvmlMemory(NvmlDevice(i)).total == (i + 1) * 1024 * kMiB);
  };
  CHECK(Child(environment, [&] {
          UseDevice(0);
          Expect(DeviceTotal(0) == 3072 && DeviceTotal(1) == 1024 && DeviceTotal(2) == 2048);  // CUDA counts third, first, second
          nvml_agrees();
        }).Good());
  environment["CUDA_VISIBLE_DEVICES"] = "2";
  CHECK(Child(environment, [&] {
          UseDevice(0);
          Expect(DeviceTotal(0) == 2048);
          nvml_agrees();
        }).Good());
  environment["CUDA_VISIBLE_DEVICES"] = kThird + "," + kFirst;
  CHECK(Child(environment, [&] {
          UseDevice(1);
          Expect(DeviceTotal(0) == 3072 && DeviceTotal(1) == 1024);
          Expect(CudaTotal() == 1024);
          nvml_agrees();
        }).Good());
}

TEST_CASE("A forked child that uses the driver has a place of its own in the usage file") {
  const Node node;
  CHECK(Child(node.With({}), [&] {
          Expect(NvmlMemory(NvmlDevice(2)).total == 1024 * kMiB);  // active before the fork, but without CUDA
          CUdeviceptr pointer = 0;
          const bool good = Child({}, [&] {
                              UseDevice(0);
                              Expect(cuMemAlloc_v2(&pointer, 200 * kMiB) == CUDA_SUCCESS);
                              Expect(Processes(NvmlDevice(2)).at(0).pid == static_cast<unsigned>(getpid()));
                            }).Good();
          Expect(good);
          shm::Region region;  // the child is gone without a word; whoever looks next finds its memory free
          Expect(region.Open(node.usage().c_str()) == shm::Fault::kNone);
          region.Sweep();
          Expect(region.Used(0) == 0);
        }).Good());
}

}  // namespace partage::intercept
