// SPDX-License-Identifier: Apache-2.0
// How an entry point of the driver is hooked: one block in one file of hooks/.
//
//   // Memory from the stream-ordered allocator counts like cuMemAlloc's.
//   PARTAGE_HOOK(CUresult, cuMemAllocAsync, (CUdeviceptr* ptr, size_t bytes, CUstream stream)) {
//     if (!Active()) return Real(ptr, bytes, stream);
//     …
//   }
//
// The name must be a row of api/*.inc, with the same signature. The block defines four things:
//   - `partage_hook_<name>`, hidden: what loader and cuGetProcAddress hand out instead of the driver's address;
//   - an entry of the list of hooks (hook_table.h), through which they find it;
//   - `<name>`, exported: what programs linked with -lcuda bind to. The same code, so it may be the first thing of ours that runs: ask Active()
//     before anything else, and call Real where it says no;
//   - `Real` inside the block: the driver's own function of exactly this row. A shared body for several rows takes it as a parameter:
//       PARTAGE_HOOK(CUresult, cuMemAllocAsync_ptsz, (CUdeviceptr* ptr, size_t bytes, CUstream stream)) { return Pooled(Real, ptr, bytes, stream); }
//
// A hook runs in a stranger's process, on a stranger's thread: no allocation, no lock that a killed or forked thread could keep, no printf, no
// getenv, no errno left changed where the driver leaves it alone; never exit or abort. What it refuses, it refuses with the driver's own codes.
#pragma once

#include <type_traits>

#include "intercept/hook_table.h"
#include "intercept/runtime.h"
#include "intercept/table.h"

#define PARTAGE_HOOK(ret, name, params)                                                                                   \
  static_assert(std::is_same_v<ret params, SignatureOf<Row::name>::Type>, "the signature of " #name " is not its row's"); \
  struct Hook_##name : DriverFunction<Row::name> {                                                                        \
    [[gnu::visibility("hidden"), gnu::used]] static ret Body params __asm__("partage_hook_" #name);                       \
  };                                                                                                                      \
  [[gnu::section("partage_hooks"), gnu::used, gnu::retain]] static constinit HookEntry<ret params> g_entry_##name{        \
      static_cast<std::uintptr_t>(Row::name), &Hook_##name::Body};                                                        \
  extern "C" [[gnu::visibility("default"), gnu::alias("partage_hook_" #name)]] ret name params;                           \
  ret Hook_##name::Body params
