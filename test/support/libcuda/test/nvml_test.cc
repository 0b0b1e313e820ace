// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <cstring>
#include <string>

#include "test/support/libcuda/test/started.h"
#include "test/support/temp_folder.h"

namespace partage::test {
namespace {

struct Nvml : NvmlClient {
  Nvml() : NvmlClient(FakeDriverFile("550", "libnvidia-ml.so.1")) {
    Expect(nvmlInit_v2() == NVML_SUCCESS && nvmlDeviceGetHandleByIndex_v2(0, &device) == NVML_SUCCESS);
  }
  nvmlDevice_t device = nullptr;
};

TEST_CASE("NVML wants to be initialised, and knows its own handles") {
  Child child({}, [] {
    const NvmlClient nvml(FakeDriverFile("550", "libnvidia-ml.so.1"));
    unsigned count = 0;
    char name[64];
    Expect(nvml.nvmlDeviceGetCount_v2(&count) == NVML_ERROR_UNINITIALIZED && nvml.nvmlShutdown() == NVML_ERROR_UNINITIALIZED);
    Expect(nvml.nvmlInit_v2() == NVML_SUCCESS && nvml.nvmlDeviceGetCount_v2(&count) == NVML_SUCCESS && count == 1);
    Expect(nvml.nvmlDeviceGetName(reinterpret_cast<nvmlDevice_t>(&count), name, 64) == NVML_ERROR_INVALID_ARGUMENT);
    Expect(nvml.nvmlSystemGetDriverVersion(name, 64) == NVML_SUCCESS && std::string(name) == "550.163.01");
    Expect(nvml.nvmlSystemGetDriverVersion(name, 5) == NVML_ERROR_INSUFFICIENT_SIZE);
    Expect(nvml.nvmlShutdown() == NVML_SUCCESS && nvml.nvmlDeviceGetCount_v2(&count) == NVML_ERROR_UNINITIALIZED);
  });
  CHECK(child.Good());
}

TEST_CASE("NVML and CUDA tell of the same devices, by UUID, and of the same memory") {
  Child child({{"FAKE_CUDA", "device memory=1G; device memory=2G; cuda_order 1 0; context 100M"}}, [] {
    const Started cuda;
    const Nvml nvml;
    nvmlDevice_t second = nullptr;
    nvmlMemory_t memory{};
    nvmlMemory_v2_t memory2{.version = NvmlStructVersion(sizeof(memory2), 2)};
    Expect(nvml.nvmlDeviceGetHandleByIndex_v2(1, &second) == NVML_SUCCESS);
    Expect(nvml.nvmlDeviceGetMemoryInfo(nvml.device, &memory) == NVML_SUCCESS && memory.total == 1ull << 30 && memory.used == 0);
    Expect(nvml.nvmlDeviceGetMemoryInfo(second, &memory) == NVML_SUCCESS && memory.used == 100 << 20 &&
           memory.free + memory.used == memory.total);
    Expect(nvml.nvmlDeviceGetMemoryInfo_v2(second, &memory2) == NVML_SUCCESS);
    Expect(memory2.used == 100 << 20 && memory2.free + memory2.used + memory2.reserved == memory2.total);
    memory2.version = 0;
    Expect(nvml.nvmlDeviceGetMemoryInfo_v2(second, &memory2) == NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
    char uuid[NVML_DEVICE_UUID_BUFFER_SIZE], text[48];
    CUuuid bytes{};
    Expect(nvml.nvmlDeviceGetUUID(second, uuid, sizeof(uuid)) == NVML_SUCCESS && cuda.cuDeviceGetUuid_v2(&bytes, 0) == CUDA_SUCCESS);
    std::snprintf(text, sizeof(text), "GPU-%02x%02x%02x%02x-", bytes.bytes[0], bytes.bytes[1], bytes.bytes[2], bytes.bytes[3]);
    Expect(std::string(uuid).starts_with(text));
  });
  CHECK(child.Good());
}

TEST_CASE("Processes are listed with host PIDs as the profile says, by the rule of counts") {
  TempFolder folder;
  const std::string shm = "; shm " + folder.path() + "/gpus";
  for (const auto& [statement, offset] :
       {std::pair{std::string("kernel 1us"), 0}, {"host_pids offset 70000", 70000}, {"host_pids hidden", -1}}) {
    Child child({{"FAKE_CUDA", statement + shm}}, [offset = offset] {
      const Started cuda;
      const Nvml nvml;
      CUdeviceptr pointer = 0;
      Expect(cuda.cuMemAlloc_v2(&pointer, 12288) == CUDA_SUCCESS);
      unsigned count = 0;
      nvmlProcessInfo_t info{};
      const nvmlReturn_t expected = offset < 0 ? NVML_SUCCESS : NVML_ERROR_INSUFFICIENT_SIZE;
      Expect(nvml.nvmlDeviceGetComputeRunningProcesses_v3(nvml.device, &count, nullptr) == expected && count == (offset < 0 ? 0u : 1u));
      Expect(nvml.nvmlDeviceGetComputeRunningProcesses_v3(nvml.device, &count, &info) == NVML_SUCCESS);
      Expect(offset < 0 || (info.pid == static_cast<unsigned>(getpid() + offset) && info.usedGpuMemory == 12288));
    });
    CHECK(child.Good());
  }
}

TEST_CASE("Utilisation is that of a past period, so it comes late and goes late") {
  Child child({{"FAKE_CUDA", "nvml_period 100ms; nvml_lag 100ms"}}, [] {
    const Started cuda;
    const Nvml nvml;
    nvmlUtilization_t utilization{};
    nvmlProcessUtilizationSample_t sample{};
    unsigned count = 1;
    Expect(nvml.nvmlDeviceGetProcessUtilization(nvml.device, &sample, &count, 0) == NVML_ERROR_NOT_FOUND);
    Expect(cuda.Launch(cuda.Function("spin_400ms")) == CUDA_SUCCESS);
    Expect(nvml.nvmlDeviceGetUtilizationRates(nvml.device, &utilization) == NVML_SUCCESS && utilization.gpu == 0);
    Expect(cuda.cuCtxSynchronize() == CUDA_SUCCESS);
    Expect(nvml.nvmlDeviceGetUtilizationRates(nvml.device, &utilization) == NVML_SUCCESS && utilization.gpu == 100);
    count = 1;
    Expect(nvml.nvmlDeviceGetProcessUtilization(nvml.device, &sample, &count, 0) == NVML_SUCCESS && count == 1);
    Expect(sample.pid == static_cast<unsigned>(getpid()) && sample.smUtil == 100);
    count = 1;
    usleep(400'000);
    Expect(nvml.nvmlDeviceGetUtilizationRates(nvml.device, &utilization) == NVML_SUCCESS && utilization.gpu == 0);
    Expect(nvml.nvmlDeviceGetProcessUtilization(nvml.device, &sample, &count, 0) == NVML_ERROR_NOT_FOUND);
  });
  CHECK(child.Good());
}

TEST_CASE("MIG instances hang below their device, with memory of their own") {
  Child child({{"FAKE_CUDA", "device memory=8G; device parent=0 memory=1G; device parent=0 memory=2G; device memory=4G"}}, [] {
    const Nvml nvml;
    unsigned count = 0, mode = 0, pending = 0, is_mig = 0;
    nvmlDevice_t instance = nullptr, back = nullptr;
    nvmlMemory_t memory{};
    Expect(nvml.nvmlDeviceGetCount_v2(&count) == NVML_SUCCESS && count == 2);
    Expect(nvml.nvmlDeviceGetMigMode(nvml.device, &mode, &pending) == NVML_SUCCESS && mode == 1);
    Expect(nvml.nvmlDeviceGetMigDeviceHandleByIndex(nvml.device, 1, &instance) == NVML_SUCCESS);
    Expect(nvml.nvmlDeviceGetMigDeviceHandleByIndex(nvml.device, 2, &back) == NVML_ERROR_NOT_FOUND);
    Expect(nvml.nvmlDeviceGetMemoryInfo(instance, &memory) == NVML_SUCCESS && memory.total == 2ull << 30);
    Expect(nvml.nvmlDeviceIsMigDeviceHandle(instance, &is_mig) == NVML_SUCCESS && is_mig == 1);
    Expect(nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(instance, &back) == NVML_SUCCESS && back == nvml.device);
  });
  CHECK(child.Good());
}

}  // namespace
}  // namespace partage::test
