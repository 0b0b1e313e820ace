// SPDX-License-Identifier: Apache-2.0
// Contexts take hundreds of megabytes on large GPUs, and with them dies what was allocated in them.
#include "intercept/hook.h"
#include "intercept/limiter/gate.h"
#include "intercept/memory/context_cost.h"
#include "intercept/memory/ledger.h"
#include "intercept/memory/overhead.h"
#include "intercept/memory/reserve.h"
#include "intercept/share.h"
#include "shm/clock.h"

namespace partage::intercept {
namespace {

using namespace memory;

/// One creation at a time, so that two do not measure each other, and so that one thread's first retain is another's second.
constinit ForkLock g_creation;

/// What lives and dies with a context.
constexpr Kinds kOwned{Kind::kLinear, Kind::kManaged, Kind::kArray, Kind::kModule, Kind::kExternal};

/// What costs nothing can be had even where nobody can account for anything.
bool Pay(int device, std::uint64_t cost) { return cost == 0 || Afford(device, MemoryClass::kContext, cost); }

/// A context of known cost: charged before it is made.
template <class Make>
CUresult CreateForKnown(int device, std::uint64_t cost, Make&& create) {
  if (!Pay(device, cost)) return CUDA_ERROR_OUT_OF_MEMORY;
  const CUresult result = create();
  if (result != CUDA_SUCCESS) Refund(device, MemoryClass::kContext, cost);
  return result;
}

/// A context that exists and turns out to cost this: paid for or undone.
template <class Unmake>
CUresult Keep(int device, std::uint64_t cost, Unmake&& undo) {
  if (Pay(device, cost)) return CUDA_SUCCESS;
  undo();
  return CUDA_ERROR_OUT_OF_MEMORY;
}

/// The first context that the container makes on a device is measured, and its cost told to all.
template <class Make>
CUresult CreateAndMeasure(int device, CUdevice ordinal, ContextCost told, std::uint64_t* cost, Make&& create) {
  const ContextMeter meter(device, ordinal);
  const CUresult result = create();
  if (result == CUDA_SUCCESS && meter.Cost(cost)) {
    told.Tell(*cost);
  } else {
    told.GiveUp();
  }
  return result;
}

/// While another process measures: its figure is waited for, but not for long. Measuring it all again in each of many processes that start
/// together would load NVML into every one.
template <class Make>
CUresult CreateAndAsk(int device, CUdevice ordinal, ContextCost told, std::uint64_t* cost, Make&& create) {
  const CUresult result = create();
  if (result == CUDA_SUCCESS && !told.Await(cost)) *cost = CostOfFirstContext(device, ordinal);
  return result;
}

/// REQUIRES: g_creation held.
template <class Make, class Unmake>
CUresult Created(int device, CUdevice ordinal, CUcontext* context, Make&& create, Unmake&& undo) {
  const ContextCost told(region().context_cost(static_cast<unsigned>(device)));
  std::uint64_t cost = 0;
  CUresult result = CUDA_SUCCESS;
  if (told.Known(&cost)) {
    result = CreateForKnown(device, cost, create);
  } else {
    result = told.Claim(shm::MonotonicNs()) ? CreateAndMeasure(device, ordinal, told, &cost, create)
                                            : CreateAndAsk(device, ordinal, told, &cost, create);
    if (result == CUDA_SUCCESS) result = Keep(device, cost, undo);
  }
  if (result != CUDA_SUCCESS) return result;
  const unsigned index = g_contexts.Enter(KeyOf(*context), static_cast<unsigned>(device));
  if (index != 0) return g_contexts.Charge(index, cost), CUDA_SUCCESS;
  undo();  // nobody could say what dies with it
  Refund(device, MemoryClass::kContext, cost);
  return CUDA_ERROR_OUT_OF_MEMORY;
}

/// cuCtxCreate in its versions. `create` calls the driver.
template <class Make>
CUresult Create(CUcontext* context, CUdevice ordinal, Make&& create) {
  const Entered entered;
  const int device = entered && context != nullptr ? On(ordinal).device : -1;
  if (device < 0) return create();
  const Locked locked(g_creation);
  return Created(device, ordinal, context, create, [&] {
    CallReal<Row::cuCtxDestroy_v2>(*context);
    *context = nullptr;
  });
}

/// The context is gone: everything in it goes back.
void Died(unsigned index) {
  const int device = static_cast<int>(g_contexts.device(index));
  g_holdings.TakeOwned(index, kOwned, [](std::uint64_t, const Holding& holding) { GiveBack(holding); });
  if (const std::uint64_t due = g_contexts.Remove(index); due > 0) Refund(device, MemoryClass::kContext, due);
}

/// The limiter's events die with the context: nobody may ask for them from now on.
CUresult DestroyWithEvents(CUresult (*real)(CUcontext), CUcontext context) {
  limiter::NoEventsMeanwhile events;
  const CUresult result = real(context);
  if (result == CUDA_SUCCESS) events.Died(context);
  return result;
}

CUresult Destroy(CUresult (*real)(CUcontext), CUcontext context) {
  const Entered entered;
  const unsigned index = entered ? g_contexts.Find(KeyOf(context)) : 0;
  if (index == 0) return DestroyWithEvents(real, context);
  g_contexts.Detach(index);
  const CUresult result = DestroyWithEvents(real, context);
  if (result == CUDA_SUCCESS) {
    Died(index);
  } else {
    g_contexts.Attach(index, KeyOf(context));
  }
  return result;
}

bool PrimaryActive(CUdevice device) {
  unsigned flags = 0;
  int active = 0;
  return CallReal<Row::cuDevicePrimaryCtxGetState>(device, &flags, &active) == CUDA_SUCCESS && active != 0;
}

CUresult ReleasePrimary(CUdevice device) {
  if (DriverHas(Row::cuDevicePrimaryCtxRelease_v2)) return CallReal<Row::cuDevicePrimaryCtxRelease_v2>(device);
  return CallReal<Row::cuDevicePrimaryCtxRelease>(device);  // before 11.0
}

/// The index of the device's primary context, which is active; 0: not known.
unsigned PrimaryIndex(CUdevice device) {
  CUcontext context = nullptr;
  if (CallReal<Row::cuDevicePrimaryCtxRetain>(&context, device) != CUDA_SUCCESS) return 0;
  ReleasePrimary(device);
  return g_contexts.Find(KeyOf(context));
}

/// Calls the driver; when the primary context dies of it, the limiter's events in it have died too.
CUresult LetWithEvents(CUresult (*real)(CUdevice), CUdevice ordinal, int device) {
  limiter::NoEventsMeanwhile events;
  const CUresult result = real(ordinal);
  if (!PrimaryActive(ordinal)) events.DiedOn(device);
  return result;
}

/// Releases or resets a primary context; the driver counts who still uses it, and says whether it is gone.
CUresult Let(CUresult (*real)(CUdevice), CUdevice ordinal) {
  const Entered entered;
  const int device = entered ? On(ordinal).device : -1;
  if (device < 0) return real(ordinal);
  const Locked locked(g_creation);
  const unsigned index = PrimaryActive(ordinal) ? PrimaryIndex(ordinal) : 0;
  const CUresult result = LetWithEvents(real, ordinal, device);
  if (index == 0 || PrimaryActive(ordinal)) return result;
  g_contexts.Detach(index);
  Died(index);
  for (unsigned pool = 1; pool < g_pools.bound(); ++pool) {
    if (g_pools.At(pool).handle.load(std::memory_order_acquire) != 0) FollowPool(pool);
  }
  return result;
}

}  // namespace

PARTAGE_HOOK(CUresult, cuDevicePrimaryCtxRetain, (CUcontext * pctx, CUdevice dev)) {
  const Entered entered;
  const int device = entered && pctx != nullptr ? On(dev).device : -1;
  if (device < 0) return Real(pctx, dev);
  const Locked locked(g_creation);
  if (PrimaryActive(dev)) return Real(pctx, dev);
  return Created(
      device, dev, pctx, [&] { return Real(pctx, dev); }, [&] { ReleasePrimary(dev); });
}

PARTAGE_HOOK(CUresult, cuDevicePrimaryCtxRelease, (CUdevice dev)) { return Let(Real, dev); }
PARTAGE_HOOK(CUresult, cuDevicePrimaryCtxRelease_v2, (CUdevice dev)) { return Let(Real, dev); }
PARTAGE_HOOK(CUresult, cuDevicePrimaryCtxReset, (CUdevice dev)) { return Let(Real, dev); }
PARTAGE_HOOK(CUresult, cuDevicePrimaryCtxReset_v2, (CUdevice dev)) { return Let(Real, dev); }

PARTAGE_HOOK(CUresult, cuCtxCreate, (CUcontext * pctx, unsigned flags, CUdevice dev)) {
  return Create(pctx, dev, [&] { return Real(pctx, flags, dev); });
}
PARTAGE_HOOK(CUresult, cuCtxCreate_v2, (CUcontext * pctx, unsigned flags, CUdevice dev)) {
  return Create(pctx, dev, [&] { return Real(pctx, flags, dev); });
}
PARTAGE_HOOK(CUresult, cuCtxCreate_v3,
             (CUcontext * pctx, CUexecAffinityParam* params_array, int num_params, unsigned flags, CUdevice dev)) {
  return Create(pctx, dev, [&] { return Real(pctx, params_array, num_params, flags, dev); });
}
PARTAGE_HOOK(CUresult, cuCtxCreate_v4, (CUcontext * pctx, CUctxCreateParams* ctx_create_params, unsigned flags, CUdevice dev)) {
  return Create(pctx, dev, [&] { return Real(pctx, ctx_create_params, flags, dev); });
}

PARTAGE_HOOK(CUresult, cuCtxDestroy, (CUcontext ctx)) { return Destroy(Real, ctx); }
PARTAGE_HOOK(CUresult, cuCtxDestroy_v2, (CUcontext ctx)) { return Destroy(Real, ctx); }

// Stacks and heaps of the device are part of a context. What cannot be paid for is undone.
PARTAGE_HOOK(CUresult, cuCtxSetLimit, (CUlimit limit, size_t value)) {
  const Entered entered;
  const Place place = entered ? Here() : Place{};
  if (place.device < 0 || place.context == 0) return Real(limit, value);
  std::size_t old = 0;
  const bool undoable = CallReal<Row::cuCtxGetLimit>(&old, limit) == CUDA_SUCCESS;
  const Overhead overhead(place.device);
  const CUresult result = Real(limit, value);
  if (result != CUDA_SUCCESS) return result;
  const std::uint64_t bytes = overhead.Growth(kMostForContext);
  if (!Afford(place.device, MemoryClass::kContext, bytes)) {
    if (undoable) Real(limit, old);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  g_contexts.Charge(place.context, bytes);
  return result;
}

}  // namespace partage::intercept
