// SPDX-License-Identifier: Apache-2.0
#include "test/intercept/memory/gpu.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>

#include "shm/limits.h"
#include "test/support/libcuda/control.h"

namespace partage::intercept {
namespace {

constexpr const char* kUuids[] = {"GPU-5eed0000-0000-4000-8000-000000000001", "GPU-5eed0001-0000-4000-8000-000000000002"};

shm::LimitsContent Limits() {
  shm::LimitsContent content;
  content.devices = 2;
  for (unsigned i = 0; i < 2; ++i) std::strcpy(content.device[i].uuid, kUuids[i]);
  content.device[0].memory_bytes = Gpu::kSmallLimit;
  content.device[1].memory_bytes = Gpu::kLimit;
  return content;
}

/// CUDA's device 0 is the second of the limits file.
unsigned IndexOf(CUdevice device) { return device == 0 ? 1 : 0; }

}  // namespace

Gpu& Gpu::Get() {
  static Gpu& gpu = *new Gpu;
  return gpu;
}

Gpu::Gpu() {
  REQUIRE(std::getenv("LD_PRELOAD") != nullptr);
  char folder[] = "/tmp/partage-memory-XXXXXX";
  REQUIRE(mkdtemp(folder) != nullptr);
  const std::string limits = std::string(folder) + "/limits", usage = std::string(folder) + "/usage";
  REQUIRE(shm::WriteLimits(limits.c_str(), Limits()) == shm::Fault::kNone);
  setenv("PARTAGE_LIMITS", limits.c_str(), 1);
  setenv("PARTAGE_USAGE", usage.c_str(), 1);
  setenv("FAKE_CUDA", "device memory=16G; device memory=16G; cuda_order 1 0; context 100M; module 10M", 1);
  REQUIRE(cuInit(0) == CUDA_SUCCESS);
  REQUIRE(cuDevicePrimaryCtxRetain(&primary_, 0) == CUDA_SUCCESS);
  REQUIRE(cuCtxSetCurrent(primary_) == CUDA_SUCCESS);
  REQUIRE(usage_.OpenReadOnly(usage.c_str()) == shm::Fault::kNone);
  std::system(("rm -r " + std::string(folder)).c_str());  // mapped: they live on
}

std::uint64_t Gpu::Used(CUdevice device) const { return usage_.Used(IndexOf(device)); }

std::uint64_t Gpu::Used(shm::MemoryClass kind, CUdevice device) const { return usage_.UsedFor(IndexOf(device), kind); }

std::int64_t DriverCalls(const std::string& name) { return fakeCudaCalls(name.c_str()); }

Failing::Failing(const std::string& name, CUresult code) : name_(name) { REQUIRE(fakeCudaFail(name.c_str(), code, 0, 0) == 0); }
Failing::~Failing() { fakeCudaFail(name_.c_str(), CUDA_SUCCESS, 0, 0); }

}  // namespace partage::intercept
