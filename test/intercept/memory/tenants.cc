// SPDX-License-Identifier: Apache-2.0
#include "test/intercept/memory/tenants.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "shm/limits.h"
#include "shm/region.h"
#include "test/intercept/memory/gpu.h"

namespace partage::intercept {

Tenants::Tenants(std::uint64_t memory_bytes, const std::string& profile, std::uint32_t flags) {
  REQUIRE(std::getenv("LD_PRELOAD") != nullptr);
  char folder[] = "/tmp/partage-tenants-XXXXXX";
  REQUIRE(mkdtemp(folder) != nullptr);
  folder_ = folder;
  shm::LimitsContent content;
  content.devices = 1;
  std::strcpy(content.device[0].uuid, "GPU-5eed0000-0000-4000-8000-000000000001");
  content.device[0].memory_bytes = memory_bytes;
  content.device[0].flags = flags;
  REQUIRE(shm::WriteLimits((folder_ + "/limits").c_str(), content) == shm::Fault::kNone);
  setenv("PARTAGE_LIMITS", (folder_ + "/limits").c_str(), 1);
  setenv("PARTAGE_USAGE", (folder_ + "/usage").c_str(), 1);
  setenv("FAKE_CUDA", (profile + "; shm " + folder_ + "/gpu").c_str(), 1);
}

Tenants::~Tenants() { std::filesystem::remove_all(folder_); }

std::uint64_t Tenants::Used() const {
  shm::Region usage;
  REQUIRE(usage.OpenReadOnly((folder_ + "/usage").c_str()) == shm::Fault::kNone);
  return usage.Used(0);
}

bool Tenants::IsFree(std::uint64_t bytes) const {
  return Succeeded(Child([&] {
    Start();
    CUdeviceptr pointer = 0;
    return cuMemAlloc_v2(&pointer, bytes) == CUDA_SUCCESS && cuMemFree_v2(pointer) == CUDA_SUCCESS;
  }));
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

}  // namespace partage::intercept
