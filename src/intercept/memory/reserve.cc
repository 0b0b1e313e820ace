// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/reserve.h"

#include <atomic>

#include "intercept/memory/ledger.h"

namespace partage::intercept::memory {
namespace {

/// The graph memory of one device.
struct GraphMemory {
  Lock lock;
  std::atomic<bool> used{false};
  CUdevice ordinal = 0;
  PoolAccount account;
};

constinit GraphMemory g_graph[shm::kMaxDevices];

/// What a graph turned out to need.
struct Need {
  unsigned device;
  std::uint64_t bytes;
};

/// Graphs that made a device exceed its limit when they were launched.
struct TooLarge {
  Lock lock;
  Map<Need> graphs;
};
constinit TooLarge g_too_large;

constinit std::atomic<bool> g_any_graph_memory{false};
constinit std::atomic<bool> g_any_stale_pool{false};

/// What the pool has reserved; what it is charged for when the driver will not say.
std::uint64_t Reserved(CUmemoryPool handle, std::uint64_t otherwise) {
  cuuint64_t bytes = 0;
  const CUresult result = CallReal<Row::cuMemPoolGetAttribute>(handle, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, static_cast<void*>(&bytes));
  return result == CUDA_SUCCESS ? bytes : otherwise;
}

CUmemoryPool HandleOf(const Pool& pool) { return reinterpret_cast<CUmemoryPool>(pool.handle.load(std::memory_order_relaxed)); }

/// Does something for each open pool of the device (-1: of any).
template <class Do>
void ForEachPool(int device, Do&& act) {
  for (unsigned i = 1; i < g_pools.bound(); ++i) {
    Pool& pool = g_pools.At(i);
    if (pool.handle.load(std::memory_order_acquire) != 0 && (device < 0 || pool.device == static_cast<unsigned>(device))) act(i, pool);
  }
}

/// Charges or gives back what the driver says. Returns what it grew by. REQUIRES: the graph memory's lock.
std::uint64_t Follow(int device, GraphMemory& graph) {
  cuuint64_t reserved = 0;
  const CUresult result =
      CallReal<Row::cuDeviceGetGraphMemAttribute>(graph.ordinal, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT, static_cast<void*>(&reserved));
  if (result != CUDA_SUCCESS) return 0;
  const auto settled = graph.account.Settle(0, reserved);
  if (settled.refund > 0) Refund(device, MemoryClass::kGraph, settled.refund);
  if (settled.excess > 0) Charge(device, MemoryClass::kGraph, settled.excess);
  return settled.excess;
}

/// Does something, with the lock held, for each device on which graphs own memory.
template <class Do>
void ForEachGraphMemory(Do&& act) {
  if (!g_any_graph_memory.load(std::memory_order_relaxed)) [[likely]]
    return;
  for (int device = 0; device < static_cast<int>(shm::kMaxDevices); ++device) {
    GraphMemory& graph = g_graph[device];
    const Locked locked(graph.lock);
    if (graph.used.load(std::memory_order_relaxed)) act(device, graph);
  }
}

/// Whether graphs may have `bytes` in all on the device.
bool FitsNow(int device, std::uint64_t bytes) {
  const std::uint64_t have = [&] {
    const Locked locked(g_graph[device].lock);
    return g_graph[device].account.charged();
  }();
  const std::uint64_t need = bytes > have ? bytes - have : 0;
  if (!Reserve(device, MemoryClass::kGraph, need)) return false;
  Refund(device, MemoryClass::kGraph, need);
  return true;
}

bool OverLimit(int device) { return MemoryUsed(device) > MemoryLimit(device); }

}  // namespace

std::uint64_t SettlePool(unsigned index, std::uint64_t hold) {
  Pool& pool = g_pools.At(index);
  const Locked locked(pool.lock);
  const PoolAccount before = pool.account;
  const auto settled = pool.account.Settle(hold, Reserved(HandleOf(pool), before.charged() - before.held()));
  if (settled.refund > 0) Refund(static_cast<int>(pool.device), MemoryClass::kPool, settled.refund);
  pool.stale.store(pool.account.charged() > pool.in_use, std::memory_order_relaxed);
  return settled.excess;
}

void FollowPool(unsigned index) {
  const std::uint64_t excess = SettlePool(index, 0);
  if (excess > 0) Charge(static_cast<int>(g_pools.At(index).device), MemoryClass::kPool, excess);
}

void SettleStalePools() {
  if (!g_any_stale_pool.load(std::memory_order_relaxed)) [[likely]]
    return;
  g_any_stale_pool.store(false, std::memory_order_relaxed);
  ForEachPool(-1, [](unsigned index, const Pool& pool) {
    if (pool.stale.load(std::memory_order_relaxed)) FollowPool(index);
    if (pool.stale.load(std::memory_order_relaxed)) NoteStalePool();
  });
}

void NoteStalePool() { g_any_stale_pool.store(true, std::memory_order_relaxed); }

void NoteGraphMemory(int device, CUdevice ordinal) {
  const Locked locked(g_graph[device].lock);
  g_graph[device].ordinal = ordinal;
  g_graph[device].used.store(true, std::memory_order_relaxed);
  g_any_graph_memory.store(true, std::memory_order_relaxed);
}

bool GraphMemoryFits(int device, std::uint64_t bytes) {
  if (FitsNow(device, bytes)) return true;
  ReleaseReserves(device);  // also of what graphs have, which FitsNow counts as theirs to use: ask anew
  return FitsNow(device, bytes);
}

void SettleGraphMemory() {
  ForEachGraphMemory([](int device, GraphMemory& memory) { Follow(device, memory); });
}

bool MayLaunchGraph(CUgraphExec graph) {
  if (!g_any_graph_memory.load(std::memory_order_relaxed)) [[likely]]
    return true;
  Need need{};
  {
    const Locked locked(g_too_large.lock);
    if (const Need* known = g_too_large.graphs.Find(KeyOf(graph)); known != nullptr) need = *known;
  }
  return need.bytes == 0 || GraphMemoryFits(static_cast<int>(need.device), need.bytes);
}

void GraphLaunched(CUgraphExec graph) {
  ForEachGraphMemory([&](int device, GraphMemory& memory) {
    if (Follow(device, memory) == 0 || !OverLimit(device)) return;
    const Locked locked(g_too_large.lock);
    if (Need* need = g_too_large.graphs.Place(KeyOf(graph)); need != nullptr)
      *need = {static_cast<unsigned>(device), memory.account.charged()};
  });
}

void GraphDestroyed(CUgraphExec graph) {
  if (!g_any_graph_memory.load(std::memory_order_relaxed)) return;
  const Locked locked(g_too_large.lock);
  Need known{};
  g_too_large.graphs.Take(KeyOf(graph), &known);
}

void ReleaseReserves(int device) {
  ForEachPool(device, [](unsigned index, const Pool& pool) {
    CallReal<Row::cuMemPoolTrimTo>(HandleOf(pool), std::size_t{0});
    FollowPool(index);
  });
  GraphMemory& graph = g_graph[device];
  if (!graph.used.load(std::memory_order_relaxed)) return;
  const Locked locked(graph.lock);
  CallReal<Row::cuDeviceGraphMemTrim>(graph.ordinal);
  Follow(device, graph);
}

void ForgetReserves() {
  for (GraphMemory& graph : g_graph) {
    graph.lock.ResetInChild();
    graph.used.store(false, std::memory_order_relaxed);
    graph.account = {};
  }
  g_too_large.lock.ResetInChild();
  g_too_large.graphs.Clear();
  g_any_graph_memory.store(false, std::memory_order_relaxed);
  g_any_stale_pool.store(false, std::memory_order_relaxed);
}

}  // namespace partage::intercept::memory
