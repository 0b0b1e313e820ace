// SPDX-License-Identifier: Apache-2.0
#include "test/intercept/limiter/limited_gpu.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace partage::intercept {
namespace {

std::uint64_t Now() {
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count());
}

}  // namespace

shm::LimitsContent LimitedGpu::Content(std::uint32_t cores, shm::CorePolicy policy) const {
  shm::LimitsContent content;
  content.devices = options_.devices;
  content.policy = policy;
  for (unsigned i = 0; i < options_.devices; ++i) {
    std::snprintf(content.device[i].uuid, shm::kUuidBytes, "GPU-5eed%04u-0000-4000-8000-%012u", i, i + 1);
    content.device[i].cores_percent = cores;
    if (options_.memory > 0) content.device[i].memory_bytes = options_.memory;
  }
  return content;
}

void LimitedGpu::Write(std::uint32_t cores, shm::CorePolicy policy) {
  REQUIRE(shm::WriteLimits((folder_ + "/limits").c_str(), Content(cores, policy)) == shm::Fault::kNone);
}

void LimitedGpu::WriteAgent(std::uint64_t rate_ppm, std::uint64_t trim_ppm, std::uint64_t others_active) {
  const int fd = open((folder_ + "/limits").c_str(), O_RDWR);
  void* map = mmap(nullptr, sizeof(shm::LimitsLayout), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  auto* layout = static_cast<shm::LimitsLayout*>(map);
  for (shm::AgentLine& line : layout->agent) {
    line.rate_ppm = rate_ppm;
    line.trim_ppm = trim_ppm;
    line.others_active = others_active;
    line.stamp_ns = Now();
  }
  munmap(map, sizeof(shm::LimitsLayout));
}

LimitedGpu::LimitedGpu(const Options& options) : options_(options) {
  REQUIRE(std::getenv("LD_PRELOAD") != nullptr);
  char folder[] = "/tmp/partage-limiter-XXXXXX";
  REQUIRE(mkdtemp(folder) != nullptr);
  folder_ = folder;
  Write(options.cores, options.policy);
  setenv("PARTAGE_LIMITS", (folder_ + "/limits").c_str(), 1);
  setenv("PARTAGE_USAGE", (folder_ + "/usage").c_str(), 1);
  std::string profile = options.profile;
  for (unsigned i = 0; i < options.devices; ++i) profile += "; device memory=16G";
  setenv("FAKE_CUDA", profile.c_str(), 1);
  REQUIRE(cuInit(0) == CUDA_SUCCESS);
  REQUIRE(cuDevicePrimaryCtxRetain(&context_, 0) == CUDA_SUCCESS);
  REQUIRE(cuCtxSetCurrent(context_) == CUDA_SUCCESS);
  REQUIRE(cuModuleLoadData(&module_, "any image") == CUDA_SUCCESS);
  REQUIRE(usage_.OpenReadOnly((folder_ + "/usage").c_str()) == shm::Fault::kNone);
}

LimitedGpu::~LimitedGpu() { std::filesystem::remove_all(folder_); }

CUfunction LimitedGpu::Kernel(const std::string& duration) {
  CUfunction function = nullptr;
  REQUIRE(cuModuleGetFunction(&function, module_, ("spin_" + duration).c_str()) == CUDA_SUCCESS);
  return function;
}

}  // namespace partage::intercept
