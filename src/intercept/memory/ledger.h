// SPDX-License-Identifier: Apache-2.0
// What every memory hook does: find out whom to charge, reserve, allocate, record; take, free, refund. Thread-safe.
//
// The order is the contract. A device is charged before its driver is asked, so the limit holds whatever other threads and processes do; a record
// is taken before the driver frees, because the address may be another thread's the next moment. Whatever fails in our own tables (the kernel
// gives no page) leaves memory charged until the process ends, never a call refused that the driver would have carried out.
#pragma once

#include <cstdint>

#include "intercept/memory/context_table.h"
#include "intercept/memory/handle_table.h"
#include "intercept/memory/holdings.h"
#include "intercept/memory/pool_table.h"
#include "intercept/runtime.h"
#include "intercept/table.h"
#include "shm/layout.h"

namespace partage::intercept::memory {

using shm::MemoryClass;

/// The tables of this process.
[[gnu::visibility("hidden")]] extern Holdings g_holdings;
[[gnu::visibility("hidden")]] extern HandleTable g_handles;
[[gnu::visibility("hidden")]] extern PoolTable g_pools;
[[gnu::visibility("hidden")]] extern ContextTable g_contexts;

/// Stands at the top of a hook: true when the call is the application's own and a limit applies, false when it must go to Real unchanged
/// (not armed, bypass, or made by the driver inside another hooked call).
class Entered {
 public:
  explicit operator bool() const { return active_ && hook_.outermost(); }

 private:
  InHook hook_;
  bool active_ = Active();
};

/// Whom an allocation of the calling thread concerns.
struct Place {
  int device = -1;       ///< index in the limits file; -1: not a device of ours, nothing is charged
  unsigned context = 0;  ///< index in g_contexts; 0: not known
};

/// The current context's place. One cuCtxGetCurrent; the rest is remembered by the thread.
Place Here();

/// The same for a device that the call names.
Place On(CUdevice device);

/// Charges the device. When it does not fit, pools and graphs first give back what they keep in reserve. False: it does not fit; nothing changed.
bool Afford(int device, MemoryClass kind, std::uint64_t bytes);

/// The class under which a kind of holding is counted.
MemoryClass ClassOf(Kind kind);

/// Remembers that `key` holds `bytes`, charged already.
void Record(std::uint64_t key, Kind kind, Place place, std::uint64_t bytes);

/// Gives back what the holding was charged: to the device, or to its pool.
void GiveBack(const Holding& holding);

/// Frees what `key` names by calling free(): forwarded in any case; given back when the driver freed it and we had charged it.
template <class Free>
CUresult Freed(std::uint64_t key, Kinds kinds, Free&& free) {
  Holding holding{};
  const bool ours = g_holdings.Take(key, kinds, &holding);
  const CUresult result = free();
  if (!ours) return result;
  if (result == CUDA_SUCCESS) {
    GiveBack(holding);
  } else {
    Holding replaced{};
    g_holdings.Put(key, holding, &replaced);
  }
  return result;
}

/// Charges `bytes`, allocates by calling allocate(), and records under key() what is now held. CUDA_ERROR_OUT_OF_MEMORY without a call when it does
/// not fit; otherwise the driver's answer.
template <class Allocate, class Key>
CUresult Allocated(Place place, Kind kind, std::uint64_t bytes, Allocate&& allocate, Key&& key) {
  if (place.device < 0) return allocate();
  if (!Afford(place.device, ClassOf(kind), bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  const CUresult result = allocate();
  if (result == CUDA_SUCCESS) {
    Record(key(), kind, place, bytes);
  } else {
    Refund(place.device, ClassOf(kind), bytes);
  }
  return result;
}

/// An opaque handle or pointer as the tables know it.
template <class Handle>
std::uint64_t KeyOf(Handle* handle) {
  return reinterpret_cast<std::uintptr_t>(handle);
}

}  // namespace partage::intercept::memory
