// SPDX-License-Identifier: Apache-2.0
// The driver as any program finds it: opened by its soname, entry points by dlsym. So what is preloaded decides what is called.
#pragma once

#include <dlfcn.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "intercept/api/cuda.h"
#include "intercept/api/nvml.h"

namespace partage::gpu {

using namespace intercept;

/// Ends the program, naming what failed: a measurement of something else than was meant is worse than none.
inline void Must(bool good, const std::string& what) {
  if (good) return;
  std::fprintf(stderr, "partage-gpu-client: %s\n", what.c_str());
  std::exit(1);
}

inline double Seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// The file that holds the code at this address, without its folder.
inline std::string ObjectOf(const void* address) {
  Dl_info info{};
  if (address == nullptr || dladdr(address, &info) == 0) return "nowhere";
  const std::string path = info.dli_fname;
  return path.substr(path.rfind('/') + 1);
}

class Cuda {
 public:
  Cuda() : handle_(dlopen("libcuda.so.1", RTLD_NOW)) { Must(handle_ != nullptr, std::string("no driver: ") + (handle_ ? "" : dlerror())); }

  void* Find(const char* name) const { return dlsym(handle_, name); }

  /// Calls an entry point; the driver's refusal is an answer.
  template <class... Args>
  CUresult Try(const char* name, Args... args) const {
    auto* const function = reinterpret_cast<CUresult (*)(Args...)>(Find(name));
    Must(function != nullptr, std::string("this driver has no ") + name);
    return function(args...);
  }

  /// Calls an entry point that must work.
  template <class... Args>
  void Call(const char* name, Args... args) const {
    const CUresult result = Try(name, args...);
    Must(result == CUDA_SUCCESS, std::string(name) + " answered " + std::to_string(static_cast<int>(result)));
  }

 private:
  void* handle_;
};

/// A context on the first device and a kernel whose time grows with its first parameter.
class Gpu : public Cuda {
 public:
  Gpu() {
    Call("cuInit", 0U);
    Call("cuDeviceGet", &device_, 0);
    Call("cuDevicePrimaryCtxRetain", &context_, device_);
    Call("cuCtxSetCurrent", context_);
    Call("cuModuleLoadData", &module_, static_cast<const void*>(kPtx));
    Call("cuModuleGetFunction", &kernel_, module_, static_cast<const char*>("work_param"));
    Call("cuStreamCreate", &stream_, 1U);
  }

  CUstream stream() const { return stream_; }
  CUdevice device() const { return device_; }

  /// One launch of so many turns of the kernel's loop.
  CUresult Launch(std::uint64_t turns) const {
    CUdeviceptr nowhere = 0;
    void* parameters[] = {&turns, &nowhere};
    static auto* const launch = reinterpret_cast<CUresult (*)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                                                              unsigned, CUstream, void**, void**)>(Find("cuLaunchKernel"));
    return launch(kernel_, 1, 1, 1, 32, 1, 1, 0, stream_, parameters, nullptr);
  }

  void Synchronize() const { Call("cuStreamSynchronize", stream_); }

  /// Turns of the loop that take about a nanosecond, by events around one long kernel: the best of some, because neighbours may interrupt it.
  double TurnsPerNs() const {
    constexpr std::uint64_t kTurns = 2'000'000;
    CUevent begin = nullptr, end = nullptr;
    Call("cuEventCreate", &begin, 0U);
    Call("cuEventCreate", &end, 0U);
    float best_ms = 0;
    for (int i = 0; i < 5; ++i) {
      float ms = 0;
      Call("cuEventRecord", begin, stream_);
      Must(Launch(kTurns) == CUDA_SUCCESS, "the kernel cannot be launched");
      Call("cuEventRecord", end, stream_);
      Call("cuEventSynchronize", end);
      Call("cuEventElapsedTime", &ms, begin, end);
      if (best_ms == 0 || ms < best_ms) best_ms = ms;
    }
    return static_cast<double>(kTurns) / (best_ms * 1e6);
  }

 private:
  // Work and no clock: a kernel that only watched a clock would end in time although it had not had the GPU.
  static constexpr char kPtx[] = R"(
.version 6.0
.target sm_50
.address_size 64
.visible .entry work_param(.param .u64 turns, .param .u64 where)
{
  .reg .pred %p<3>;
  .reg .b64 %n<3>;
  .reg .f32 %f<3>;
  ld.param.u64 %n1, [turns];
  ld.param.u64 %n2, [where];
  mov.f32 %f1, 0f3F800000;
  mov.f32 %f2, 0f3F000000;
AGAIN:
  fma.rn.f32 %f1, %f1, %f2, %f2;
  sub.u64 %n1, %n1, 1;
  setp.ne.u64 %p1, %n1, 0;
  @%p1 bra AGAIN;
  setp.eq.u64 %p2, %n2, 0;
  @%p2 bra DONE;
  st.global.f32 [%n2], %f1;
DONE:
  ret;
}
)";

  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  CUmodule module_ = nullptr;
  CUfunction kernel_ = nullptr;
  CUstream stream_ = nullptr;
};

}  // namespace partage::gpu
