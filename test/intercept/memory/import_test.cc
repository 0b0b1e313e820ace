// SPDX-License-Identifier: Apache-2.0
// Memory of one process that another opens: by IPC handle, and as physical memory by a descriptor.
#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>

#include "test/intercept/memory/blocks.h"
#include "test/intercept/memory/puppet.h"
#include "test/intercept/memory/tenants.h"

namespace partage::intercept {
namespace {

constexpr std::uint64_t kLimit = 64 * kMiB;
constexpr std::uint64_t kShared = 8 * kMiB;
constexpr std::uint64_t kOwn = 3 * kMiB;  // of the importer, so that what is given back too often shows

/// What the exporter tells the importer.
struct Passed {
  CUipcMemHandle handle;
  pid_t exporter;
  int descriptor;
};

enum Command : char { kAllocate = 'a', kFree = 'f', kOpen = 'o', kClose = 'c', kAsk = '?' };

bool Asked() { return UsedByCuda() <= kLimit; }

/// Linear memory by cuIpcGetMemHandle.
struct ByIpc {
  explicit ByIpc(Passed& passed) : passed_(passed) {}
  bool Export() {
    return Take(Way::kLinear, kShared, &block_) == CUDA_SUCCESS && cuIpcGetMemHandle(&passed_.handle, block_.handle) == CUDA_SUCCESS;
  }
  bool Free() { return intercept::Free(block_) == CUDA_SUCCESS; }
  bool Open() { return cuIpcOpenMemHandle_v2(&opened_, passed_.handle, 1) == CUDA_SUCCESS; }
  bool Close() { return cuIpcCloseMemHandle(opened_) == CUDA_SUCCESS; }

 private:
  Passed& passed_;
  Block block_;
  CUdeviceptr opened_ = 0;
};

/// Physical memory by cuMemExportToShareableHandle, which the importer maps, letting go of the handle.
struct ByDescriptor {
  explicit ByDescriptor(Passed& passed) : passed_(passed) {}
  bool Export() {
    passed_.exporter = getpid();
    return Take(Way::kPhysical, kShared, &block_) == CUDA_SUCCESS &&
           cuMemExportToShareableHandle(&passed_.descriptor, block_.handle, kType, 0) == CUDA_SUCCESS;
  }
  bool Free() { return intercept::Free(block_) == CUDA_SUCCESS; }
  bool Open() {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/%d/fd/%d", static_cast<int>(passed_.exporter), passed_.descriptor);
    const auto descriptor = static_cast<std::intptr_t>(open(path, O_RDONLY | O_CLOEXEC));
    CUmemGenericAllocationHandle handle = 0;
    return cuMemImportFromShareableHandle(&handle, reinterpret_cast<void*>(descriptor), kType) == CUDA_SUCCESS &&
           cuMemAddressReserve(&mapped_, kShared, 0, 0, 0) == CUDA_SUCCESS && cuMemMap(mapped_, kShared, 0, handle, 0) == CUDA_SUCCESS &&
           cuMemRelease(handle) == CUDA_SUCCESS;
  }
  bool Close() { return cuMemUnmap(mapped_, kShared) == CUDA_SUCCESS && cuMemAddressFree(mapped_, kShared) == CUDA_SUCCESS; }

 private:
  static constexpr CUmemAllocationHandleType kType = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  Passed& passed_;
  Block block_;
  CUdeviceptr mapped_ = 0;
};

template <class Kind>
class Exporter {
 public:
  explicit Exporter(Passed& passed) : kind_(passed) {}
  bool operator()(char command) {
    switch (command) {
      case kAllocate: return Start() != nullptr && kind_.Export();
      case kFree: return kind_.Free();
      default: return Asked();
    }
  }

 private:
  Kind kind_;
};

template <class Kind>
class Importer {
 public:
  explicit Importer(Passed& passed) : kind_(passed) {}
  bool operator()(char command) {
    switch (command) {
      case kAllocate: return Start() != nullptr && Take(Way::kLinear, kOwn, &own_) == CUDA_SUCCESS;
      case kOpen: return kind_.Open();
      case kClose: return kind_.Close();
      case kFree: return Free(own_) == CUDA_SUCCESS;
      default: return Asked();
    }
  }

 private:
  Kind kind_;
  Block own_;
};

TEMPLATE_TEST_CASE("Memory opened by another process is charged to its exporter alone, whoever of the two lets go or dies first", "", ByIpc,
                   ByDescriptor) {
  const Tenants tenants(kLimit, "device memory=16G; " + kExact);
  const shm::Shared<Passed> passed;
  Puppet exporter((Exporter<TestType>(*passed))), importer((Importer<TestType>(*passed)));
  const auto becomes = [&](Puppet& survivor, std::uint64_t bytes) {
    return shm::WaitFor([&] { return survivor.Do(kAsk) && tenants.Used() == bytes; }, 1);
  };
  REQUIRE(exporter.Do(kAllocate));
  REQUIRE(importer.Do(kAllocate));
  CHECK(tenants.Used() == kShared + kOwn);
  REQUIRE(importer.Do(kOpen));
  CHECK(tenants.Used() == kShared + kOwn);

  SECTION("the importer closes, then the exporter frees") {
    CHECK(importer.Do(kClose));
    CHECK(tenants.Used() == kShared + kOwn);
    CHECK(exporter.Do(kFree));
    CHECK(tenants.Used() == kOwn);
  }
  SECTION("the exporter frees, then the importer closes") {
    CHECK(exporter.Do(kFree));
    CHECK(tenants.Used() == kOwn);
    CHECK(importer.Do(kClose));
    CHECK(tenants.Used() == kOwn);
  }
  SECTION("the exporter is killed") {
    exporter.Kill();
    CHECK(becomes(importer, kOwn));
    CHECK(importer.Do(kClose));
    CHECK(tenants.Used() == kOwn);
  }
  SECTION("the importer is killed") {
    importer.Kill();
    CHECK(becomes(exporter, kShared));
    CHECK(exporter.Do(kFree));
    CHECK(tenants.Used() == 0);
    return;
  }
  CHECK(importer.Do(kFree));
  CHECK(tenants.Used() == 0);
  CHECK(tenants.IsFree(kLimit));
}

}  // namespace
}  // namespace partage::intercept
