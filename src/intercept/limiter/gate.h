// SPDX-License-Identifier: Apache-2.0
// The limiter of this process, as hooks use it: where every launch passes. Thread-safe.
#pragma once

#include <cstdint>

#include "intercept/api/cuda.h"
#include "intercept/limiter/cuda_events.h"
#include "intercept/limiter/limiter.h"
#include "intercept/runtime.h"
#include "shm/limits.h"

namespace partage::intercept::limiter {

/// What Gate::only_device says when it is no device: not asked yet, the only one is none of ours, or there are several.
inline constexpr int kUnknown = 0, kNone = -1, kMany = -2;

/// What the fast path looks at, in two cache lines. All zero until OnActive.
struct alignas(64) Gate {
  const shm::Limits* limits;
  std::atomic<std::uint64_t> generation;  ///< of the limits that the rest was made from
  std::atomic<bool> metered;              ///< some device's time is limited, or the agent wants it counted
  std::atomic<int> only_device;           ///< the one device of this process + 1, or one of the above
  std::atomic<int> captures;              ///< stream captures under way
};
[[gnu::visibility("hidden")]] extern Gate g_gate;
[[gnu::visibility("hidden")]] extern Limiter g_limiter;
extern __thread ThreadCredit t_credit __attribute__((tls_model("initial-exec"), visibility("hidden")));

/// The cold half of Metered: the limits have changed.
bool MeteredAnew();

/// Whether launches are the limiter's business. Arms the process if it was dormant. No: hand the call to Real unchanged.
inline bool Metered() {
  if (!Active()) return false;
  if (g_gate.generation.load(std::memory_order_relaxed) != g_gate.limits->Generation()) [[unlikely]]
    return MeteredAnew();
  return g_gate.metered.load(std::memory_order_relaxed);
}

/// The device that the calling thread launches on, as an index in the limits file; -1: none of ours.
int DeviceSlow();
inline int Device() {
  const int only = g_gate.only_device.load(std::memory_order_relaxed);
  return only > 0 ? only - 1 : DeviceSlow();
}

/// Whether what is launched into the stream now becomes part of a graph instead of running. Asks the driver only while some capture is under way.
bool CapturingSlow(CUstream stream);
inline bool Capturing(CUstream stream) { return g_gate.captures.load(std::memory_order_relaxed) > 0 && CapturingSlow(stream); }

/// Whether a kernel with this grid may go right away: nothing is limited, or the thread has paid for it in advance. Some loads and no call, so that a
/// hook that asks it first keeps its arguments where they are. No: ask Metered() and the rest.
inline bool Waved(CUfunction function, unsigned x, unsigned y, unsigned z) {
  const int state = __atomic_load_n(&g_state, __ATOMIC_ACQUIRE);
  if (state != static_cast<int>(State::kActive)) return state == static_cast<int>(State::kBypass);
  if (g_gate.generation.load(std::memory_order_relaxed) != g_gate.limits->Generation()) return false;
  if (!g_gate.metered.load(std::memory_order_relaxed)) return true;
  const int device = g_gate.only_device.load(std::memory_order_relaxed) - 1;
  if (device < 0 || g_gate.captures.load(std::memory_order_relaxed) > 0) return false;
  const CostKey key = KernelKey(function, device, x, y, z);
  const CostCell& cell = g_limiter.costs().Home(key);
  return cell.key.load(std::memory_order_relaxed) == key && Limiter::Fast(t_credit, device, cell);
}

/// The slow path of one launch: waits until it may go, and measures it if it is to be measured.
class Passage {
 public:
  Passage(CostKey key, CostCell& cell, int device, CUstream stream);
  ~Passage();
  Passage(const Passage&) = delete;
  Passage& operator=(const Passage&) = delete;

  /// The driver's answer to the launch passes through here.
  CUresult Launched(CUresult result);

 private:
  InHook hook_;
  Admission launch_;
  CUstream stream_;
  int slot_ = -1;
  bool launched_ = false;
};

/// Passes one launch that cannot be measured: waits for its turn.
void PassUnmeasured(CostKey key, int device);

/// Passes one launch: waits for its turn, submits, measures. `stream` comes from LegacyStream or PerThreadStream.
template <class Submit>
CUresult Pass(CostKey key, int device, CUstream stream, Submit&& submit) {
  if (Capturing(stream)) return submit();
  CostCell& cell = g_limiter.costs().Find(key);
  if (Limiter::Fast(t_credit, device, cell)) [[likely]]
    return submit();
  Passage passage(key, cell, device, stream);
  return passage.Launched(submit());
}

/// 0 means two streams in the two families of entry points; this tells them apart. Only for what the limiter asks the driver itself (cuda_events.h).
inline CUstream LegacyStream(CUstream stream) { return stream; }
inline CUstream PerThreadStream(CUstream stream) { return stream != nullptr ? stream : OwnStream(); }

/// Stands where no event may be asked for: while the driver destroys contexts, and while a capture begins.
class NoEventsMeanwhile {
 public:
  NoEventsMeanwhile() { g_limiter.sampler().Pause(); }
  ~NoEventsMeanwhile() { g_limiter.sampler().Resume(); }
  NoEventsMeanwhile(const NoEventsMeanwhile&) = delete;
  NoEventsMeanwhile& operator=(const NoEventsMeanwhile&) = delete;

  /// The context is gone, and its events with it.
  void Died(CUcontext context) { g_limiter.sampler().ForgetContext(context); }
  /// Some context of this device (an index in the limits file) is gone.
  void DiedOn(int device) { g_limiter.sampler().ForgetDevice(device); }
};

}  // namespace partage::intercept::limiter
