// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "intercept/api/cuda.h"
#include "shm/limits.h"
#include "shm/region.h"

namespace partage::intercept {

// The driver's interface as a program sees that was linked with -lcuda.
#define PARTAGE_CUDA_FUNCTION(ret, name, params, args, since, group) extern "C" ret name params;
#include "intercept/api/cuda_functions.inc"
#undef PARTAGE_CUDA_FUNCTION

/// The fake driver behind libpartage.so (the test runs with LD_PRELOAD) with a limit on compute. CUDA's device 0 is the first of the limits file. One
/// of these a process: its limits are those of the first. The context is the calling thread's.
class LimitedGpu {
 public:
  struct Options {
    std::uint32_t cores = 25;
    shm::CorePolicy policy = shm::CorePolicy::kDefault;
    std::string profile;       ///< more of the fake driver's profile
    unsigned devices = 1;      ///< with the same limit each
    std::uint64_t memory = 0;  ///< a limit on memory, so that the library is active without one on compute
  };
  explicit LimitedGpu(const Options& options);
  ~LimitedGpu();
  LimitedGpu(const LimitedGpu&) = delete;
  LimitedGpu& operator=(const LimitedGpu&) = delete;

  /// A kernel that runs this long: "1ms", "20us".
  CUfunction Kernel(const std::string& duration);

  /// New limits while processes run.
  void Write(std::uint32_t cores, shm::CorePolicy policy = shm::CorePolicy::kDefault);
  /// What an agent would write now.
  void WriteAgent(std::uint64_t rate_ppm, std::uint64_t trim_ppm = 1'000'000, std::uint64_t others_active = 1);

  std::int64_t spent_ns(unsigned device = 0) const { return usage_.layout().buckets[device].spent_ns.load(); }
  const shm::Region& usage() const { return usage_; }
  CUcontext context() const { return context_; }

 private:
  shm::LimitsContent Content(std::uint32_t cores, shm::CorePolicy policy) const;

  Options options_;
  std::string folder_;
  CUcontext context_ = nullptr;
  CUmodule module_ = nullptr;
  shm::Region usage_;
};

inline CUresult LaunchOn(CUfunction kernel, CUstream stream = nullptr) {
  return cuLaunchKernel(kernel, 8, 1, 1, 32, 1, 1, 0, stream, nullptr, nullptr);
}

/// Milliseconds that `what` takes.
template <class What>
double Milliseconds(What&& what) {
  const auto begin = std::chrono::steady_clock::now();
  what();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace partage::intercept
