// SPDX-License-Identifier: Apache-2.0
// Memory that the driver keeps in reserve for a process, beyond what its allocations use: pools, and the memory of graphs. Thread-safe.
//
// Both grow and shrink inside the driver, so their charge follows what the driver reports (PoolAccount), and both can be told to let go of what is
// free in them, which is done before anything is refused for want of memory.
#pragma once

#include <cstdint>

#include "intercept/api/cuda.h"
#include "intercept/memory/pool_table.h"
#include "intercept/runtime.h"

namespace partage::intercept::memory {

/// Asks the driver what the pool has reserved now, ends a hold of `hold` bytes and gives back what is not needed. Returns what the pool grew beyond all
/// holds: the caller must charge it or undo what made it grow.
std::uint64_t SettlePool(unsigned pool, std::uint64_t hold);

/// Settles a pool that may have shrunk; what it grew unseen is charged, limit or not.
void FollowPool(unsigned pool);

/// Settles every pool that has more than its blocks use. One load when there is none: called after each synchronisation, which is when pools
/// shrink (of which stream, only the driver knows).
void SettleStalePools();

/// Some pool is marked stale.
void NoteStalePool();

/// From now on graphs of this process may own memory on the device.
void NoteGraphMemory(int device, CUdevice ordinal);

/// Whether a graph's allocation of `bytes` could fit on the device now, with what graphs have reserved already. Charges nothing: the memory is taken
/// when the graph is launched.
bool GraphMemoryFits(int device, std::uint64_t bytes);

/// Charges what graphs have reserved on each device, or gives back what they let go. One load unless graphs of this process own memory.
void SettleGraphMemory();

/// A graph became executable: what it needs is noted. One load unless graphs of this process own memory.
void GraphInstantiated(CUgraphExec exec, CUgraph graph);

/// Room that was charged for what a launch may make the device's graph memory grow by. Plain values, by device.
struct GraphRoom {
  bool any = false;  // else the rest says nothing
  std::uint64_t bytes[shm::kMaxDevices];
};

/// Before a graph launch or upload, by whoever hooks it: charges room for what it may take (nothing where all graphs could run at once with what they have).
/// For that others let go of what is free, and what runs on `stream` is waited for. False: it does not fit, refuse with CUDA_ERROR_OUT_OF_MEMORY. One load
/// unless graphs of this process own memory.
bool MayLaunchGraph(CUgraphExec exec, CUstream stream, GraphRoom* room);

/// After it, whether it worked or not: settles. One that nevertheless made its device exceed the limit (a driver that does not tell what its nodes allocate) is
/// remembered.
void GraphLaunched(CUgraphExec exec, const GraphRoom& room);

/// Its handle may become another graph's.
void GraphDestroyed(CUgraphExec exec);

/// Makes pools and graphs of the device let go of what is free in them.
void ReleaseReserves(int device);

/// In a forked child: none of it is ours.
void ForgetReserves();

}  // namespace partage::intercept::memory
