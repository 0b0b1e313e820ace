// SPDX-License-Identifier: Apache-2.0
// What this process is: dormant until it first touches the driver, then held to a share, or left alone for good.
//
//            first dlopen of a driver library, or first call of an exported hook
//   DORMANT ─────────────────────────────────────────────────────────────────────→ ACTIVE   a limit applies: the driver's entry points are hooked
//                                                                              └──→ BYPASS   none does, or control is off: nothing is hooked
//
// Dormant costs nothing: no constructor, no thread, no allocation, no system call. Neither end state is ever left. A forked child keeps the state
// and takes a process slot of its own when it first charges; a vfork child shares everything with its parent and must not call the driver (which
// is CUDA's rule too).
//
// Everything here is thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>

#include "intercept/api/cuda.h"
#include "intercept/api/nvml.h"
#include "shm/limits.h"
#include "shm/region.h"

namespace partage::intercept {

enum class State : int { kDormant = 0, kActive = 1, kBypass = 2 };

[[gnu::visibility("hidden")]] extern int g_state;  // a State

/// The cold half of Active(): leaves kDormant.
bool Activate();

/// Whether hooks act. Arms the process if it was dormant. No: hand the call to Real unchanged. One load and compare when armed.
inline bool Active() {
  const int state = __atomic_load_n(&g_state, __ATOMIC_ACQUIRE);
  if (state == static_cast<int>(State::kActive)) [[likely]]
    return true;
  return state == static_cast<int>(State::kDormant) && Activate();
}

/// Whether what cannot be accounted for is refused rather than let through (docs/intercept.md). REQUIRES: the process is active.
bool RefusesOnFault();

// --- Devices. An index counts the devices of the limits file (0..15); -1 means "not one we limit". ---

/// The index of a CUDA device, by its UUID, whatever CUDA_VISIBLE_DEVICES says. A cached array look-up after the first time.
int DeviceIndexOf(CUdevice device);

/// The index of the device of the calling thread's current context. One cuCtxGetDevice; -1 without a context.
int CurrentDeviceIndex();

/// The index of an NVML device, by its UUID; a MIG device counts by its own UUID.
int DeviceIndexOf(nvmlDevice_t device);

// --- Limits and accounting of one device. `index` must be one that the functions above gave, not -1. ---

/// The memory limit in bytes now; ~0 when there is none. It may change at any time.
std::uint64_t MemoryLimit(int index);

/// Bytes charged by all processes of the container now.
std::uint64_t MemoryUsed(int index);

/// Charges bytes to this process if the device then stays within its limit. False: it would not; nothing changed.
bool Reserve(int index, shm::MemoryClass kind, std::uint64_t bytes);

/// Charges bytes whatever the limit: memory the driver has already taken (a context, a pool's growth).
void Charge(int index, shm::MemoryClass kind, std::uint64_t bytes);

/// Gives back what Reserve or Charge took, under the same class.
void Refund(int index, shm::MemoryClass kind, std::uint64_t bytes);

/// The limits now, lowered by HAMi's environment variables: what everything but memory is read from. False, and `content` untouched, when the file
/// has become damaged: keep what you had. Copies some hundred bytes; look at limits().Generation() first.
bool ReadLimits(shm::LimitsContent* content);

/// The mapped files behind all this. REQUIRES: the process is active.
const shm::Limits& limits();
shm::Region& region();

/// Takes a slot for this process unless it has one: a forked child has none until it needs one. False: all are taken.
bool HasSlot();

// --- Re-entrancy ---

/// Depth of hooked calls on this thread; above 1 the call comes from inside another (the driver's or a library's own use) and is not counted again.
extern __thread int t_depth __attribute__((tls_model("initial-exec"), visibility("hidden")));

/// Marks a scope as "inside a hook".
class InHook {
 public:
  InHook() { ++t_depth; }
  ~InHook() { --t_depth; }
  InHook(const InHook&) = delete;
  InHook& operator=(const InHook&) = delete;

  /// Whether no other hook of this thread is under way.
  bool outermost() const { return t_depth == 1; }
};

// --- Modules. Defined by memory/ and limiter/ where they need them; called by the runtime. ---

namespace memory {
/// The process has just become active: first thing, before any hook acts.
[[gnu::weak, gnu::visibility("hidden")]] void OnActive();
/// In a forked child, before anything else of ours runs: forget what only the parent holds; every lock is free.
[[gnu::weak, gnu::visibility("hidden")]] void OnForkedChild();
}  // namespace memory

namespace limiter {
[[gnu::weak, gnu::visibility("hidden")]] void OnActive();
[[gnu::weak, gnu::visibility("hidden")]] void OnForkedChild();
}  // namespace limiter

}  // namespace partage::intercept
