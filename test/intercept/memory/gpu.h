// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "intercept/api/cuda.h"
#include "shm/layout.h"
#include "shm/region.h"

namespace partage::intercept {

// The driver's interface as a program sees that was linked with -lcuda.
#define PARTAGE_CUDA_FUNCTION(ret, name, params, args, since, group) extern "C" ret name params;
#include "intercept/api/cuda_functions.inc"
#undef PARTAGE_CUDA_FUNCTION

inline constexpr std::uint64_t kMiB = 1U << 20;

/// The fake driver behind libpartage.so (the test runs with LD_PRELOAD), with limits: CUDA's device 0 may use kLimit and device 1 kSmallLimit.
/// CUDA counts the two devices in the opposite order of the limits file. Each context takes kContext, each module kModule. Device 0's primary context is
/// the calling thread's. Made once a process, at the first call; test cases leave nothing allocated.
class Gpu {
 public:
  static constexpr std::uint64_t kLimit = 1024 * kMiB;
  static constexpr std::uint64_t kSmallLimit = 256 * kMiB;
  static constexpr std::uint64_t kContext = 100 * kMiB;
  static constexpr std::uint64_t kModule = 10 * kMiB;
  static constexpr std::uint64_t kChunk = 32 * kMiB;  // by which pools grow

  static Gpu& Get();

  /// Bytes charged to the container for CUDA's device, as the usage file has it.
  std::uint64_t Used(CUdevice device = 0) const;
  std::uint64_t Used(shm::MemoryClass kind, CUdevice device = 0) const;
  /// What is left of device 0's limit.
  std::uint64_t Room() const { return kLimit - Used(); }

  CUcontext primary() const { return primary_; }

 private:
  Gpu();
  CUcontext primary_ = nullptr;
  shm::Region usage_;
};

/// Calls that reached the driver.
std::int64_t DriverCalls(const std::string& name);

/// The function's next call answers `code` while in scope.
class Failing {
 public:
  Failing(const std::string& name, CUresult code);
  ~Failing();
  Failing(const Failing&) = delete;
  Failing& operator=(const Failing&) = delete;

 private:
  std::string name_;
};

}  // namespace partage::intercept
