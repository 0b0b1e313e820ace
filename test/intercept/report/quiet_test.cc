// SPDX-License-Identifier: Apache-2.0
// A limited run leaves a process as it was: signals, threads, umask, privileges, folder, environment.
#include <catch2/catch.hpp>

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "shm/limits.h"
#include "test/support/libcuda/client.h"
#include "test/support/libcuda/linked.h"
#include "test/support/temp_folder.h"

namespace partage::intercept {

namespace {

using test::Child;
using test::Expect;

constexpr char kUuid[] = "GPU-5eed0000-0000-4000-8000-000000000001";

/// What of a process nobody may change behind its back.
std::map<std::string, std::string> Self() {
  std::map<std::string, std::string> self;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    const std::string name = line.substr(0, line.find(':'));
    for (const char* fixed :
         {"Name",   "Umask",  "Uid",    "Gid",    "Groups", "Threads", "SigPnd",     "ShdPnd",  "SigBlk",          "SigIgn",
          "SigCgt", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",  "NoNewPrivs", "Seccomp", "Seccomp_filters", "Cpus_allowed"}) {
      if (name == fixed) self[name] = line;
    }
  }
  self["folder"] = std::filesystem::current_path();
  self["root"] = std::filesystem::read_symlink("/proc/self/root");
  self["nice"] = std::to_string(nice(0));
  for (char** variable = environ; *variable != nullptr; ++variable) self["environment"] += std::string(*variable) + "\n";
  for (const char* limit : {"/proc/self/limits", "/proc/self/timers", "/proc/self/timerslack_ns", "/proc/self/coredump_filter"}) {
    std::ifstream file(limit);
    self[limit] = std::string(std::istreambuf_iterator<char>(file), {});
  }
  return self;
}

void ExpectUnchanged(const std::map<std::string, std::string>& before) {
  const auto now = Self();
  Expect(before.size() == now.size());
  for (const auto& [name, value] : before) {
    if (now.at(name) == value) continue;
    std::fprintf(stderr, "%s was:\n%s\nand is:\n%s\n", name.c_str(), value.c_str(), now.at(name).c_str());
    Expect(false);
  }
}

/// All that wakes up some part of the library: its files, the ledger, a pool, launches that wait and are measured, a graph, NVML, an own child.
void LimitedRun() {
  CUcontext context = nullptr;
  CUmodule module = nullptr;
  CUfunction kernel = nullptr;
  CUdeviceptr pointer = 0;
  nvmlDevice_t device = nullptr;
  nvmlMemory_t memory{};
  Expect(cuInit(0) == CUDA_SUCCESS);
  Expect(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS && cuCtxSetCurrent(context) == CUDA_SUCCESS);
  Expect(cuMemAlloc_v2(&pointer, 2U << 30) == CUDA_ERROR_OUT_OF_MEMORY);
  Expect(cuMemAlloc_v2(&pointer, 1 << 20) == CUDA_SUCCESS && cuMemFree_v2(pointer) == CUDA_SUCCESS);
  Expect(cuMemAllocAsync(&pointer, 1 << 20, nullptr) == CUDA_SUCCESS && cuMemFreeAsync(pointer, nullptr) == CUDA_SUCCESS);
  Expect(cuModuleLoadData(&module, "any image") == CUDA_SUCCESS);
  Expect(cuModuleGetFunction(&kernel, module, "spin_2ms") == CUDA_SUCCESS);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 40; ++i) Expect(cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr) == CUDA_SUCCESS);
  Expect(cuCtxSynchronize() == CUDA_SUCCESS);
  Expect(std::chrono::steady_clock::now() - begin > std::chrono::milliseconds(120));  // 80 ms at a half
  Expect(nvmlInit_v2() == NVML_SUCCESS && nvmlDeviceGetHandleByIndex_v2(0, &device) == NVML_SUCCESS);
  Expect(nvmlDeviceGetMemoryInfo(device, &memory) == NVML_SUCCESS && memory.total == 1U << 30);
}

void Handle(int) {}

}  // namespace

TEST_CASE("A limited run changes nothing of a process, with limits from a file and from variables") {
  for (const bool from_file : {true, false}) {
    INFO("from a file: " << from_file);
    const test::TempFolder folder;
    Child::Environment environment = {{"FAKE_CUDA", "device memory=16G"}, {"PARTAGE_USAGE", folder.path() + "/usage"}};
    if (from_file) {
      shm::LimitsContent content;
      content.devices = 1;
      std::strcpy(content.device[0].uuid, kUuid);
      content.device[0].memory_bytes = 1U << 30;
      content.device[0].cores_percent = 50;
      REQUIRE(shm::WriteLimits((folder.path() + "/limits").c_str(), content) == shm::Fault::kNone);
      environment["PARTAGE_LIMITS"] = folder.path() + "/limits";
    } else {
      environment["CUDA_DEVICE_MEMORY_LIMIT"] = "1g";
      environment["CUDA_DEVICE_SM_LIMIT"] = "50";
    }
    CHECK(Child(environment, [&] {
            // Values that nobody has by default.
            umask(0137);
            signal(SIGUSR1, Handle);
            signal(SIGPIPE, SIG_IGN);
            sigset_t blocked;
            sigemptyset(&blocked);
            sigaddset(&blocked, SIGUSR2);
            sigprocmask(SIG_BLOCK, &blocked, nullptr);
            const auto before = Self();
            Expect(before.at("Threads") == "Threads:\t1");
            LimitedRun();
            ExpectUnchanged(before);
            Expect(std::filesystem::exists(folder.path() + "/usage"));
            Expect(Child({}, [&] { ExpectUnchanged(before); }).Good());
          }).Good());
  }
}

}  // namespace partage::intercept
