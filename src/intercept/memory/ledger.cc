// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/ledger.h"

#include "intercept/memory/reserve.h"

namespace partage::intercept::memory {

constinit Holdings g_holdings;
constinit HandleTable g_handles;
constinit PoolTable g_pools;
constinit ContextTable g_contexts;

namespace {

/// The last context a thread allocated in, and what it meant. All zero before: what is not would be copied at each start of any program.
struct LastContext {
  CUcontext context;
  std::uint32_t generation;  // of g_contexts; it starts at 1, so 0 is void
  int device;
  unsigned index;  // of the context
};
__thread LastContext t_last __attribute__((tls_model("initial-exec")));

Place Remember(CUcontext context, std::uint32_t generation) {
  Place place{.device = CurrentDeviceIndex(), .context = 0};
  if (place.device >= 0) place.context = g_contexts.Enter(KeyOf(context), static_cast<unsigned>(place.device));
  t_last = {context, generation, place.device, place.context};
  return place;
}

}  // namespace

Place Here() {
  CUcontext context = nullptr;
  if (CallReal<Row::cuCtxGetCurrent>(&context) != CUDA_SUCCESS || context == nullptr) return {};
  const std::uint32_t generation = g_contexts.generation();
  if (context == t_last.context && generation == t_last.generation) [[likely]]
    return {t_last.device, t_last.index};
  return Remember(context, generation);
}

Place On(CUdevice device) { return {.device = DeviceIndexOf(device), .context = 0}; }

bool Afford(int device, MemoryClass kind, std::uint64_t bytes) {
  if (bytes > Holding::kMostBytes) return false;
  if (bytes == 0) return true;  // what costs nothing can be had even where nobody can account for anything
  if (Reserve(device, kind, bytes)) [[likely]]
    return true;
  ReleaseReserves(device);
  return Reserve(device, kind, bytes);
}

MemoryClass ClassOf(Kind kind) {
  switch (kind) {
    case Kind::kManaged: return MemoryClass::kManaged;
    case Kind::kPool: return MemoryClass::kPool;
    case Kind::kArray: return MemoryClass::kArray;
    case Kind::kModule: return MemoryClass::kModule;
    case Kind::kExternal: return MemoryClass::kIpc;
    default: return MemoryClass::kLinear;
  }
}

void Record(std::uint64_t key, Kind kind, Place place, std::uint64_t bytes) {
  const Holding holding{.bytes = bytes,
                        .device = static_cast<std::uint64_t>(place.device),
                        .kind_of = static_cast<std::uint64_t>(kind),
                        .owner = place.context};
  Holding replaced{};
  if (g_holdings.Put(key, holding, &replaced) && replaced.bytes > 0) GiveBack(replaced);
}

void GiveBack(const Holding& holding) {
  const int device = static_cast<int>(holding.device);
  if (holding.kind() == Kind::kPool && holding.owner != 0) {
    if (const std::uint64_t due = g_pools.Freed(holding.owner, holding.bytes); due > 0) Refund(device, MemoryClass::kPool, due);
    NoteStalePool();
    return;
  }
  Refund(device, ClassOf(holding.kind()), holding.bytes);
}

void OnForkedChild() {
  g_holdings.ResetInChild();
  g_handles.ResetInChild();
  g_pools.ResetInChild();
  g_contexts.ResetInChild();
  ForgetReserves();
}

}  // namespace partage::intercept::memory
