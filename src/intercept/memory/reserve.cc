// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/reserve.h"

#include <atomic>

#include "intercept/limiter/gate.h"
#include "intercept/memory/graph_footprint.h"
#include "intercept/memory/ledger.h"

namespace partage::intercept::memory {
namespace {

/// The graph memory of one device.
struct GraphMemory {
  Lock lock;
  std::atomic<bool> used{false};
  CUdevice ordinal = 0;
  PoolAccount account;
  std::uint64_t needed = 0;  // by all executable graphs, and by destroyed ones that may still have what they took
  std::uint64_t live = 0;    // by executable graphs
};

constinit GraphMemory g_graph[shm::kMaxDevices];

/// What is known of an executable graph.
struct ExecGraph {
  GraphFootprint footprint;   // by its nodes
  unsigned too_large_device;  // where it made the device exceed its limit when it was launched,
  std::uint64_t too_large;    // and how much graphs had then; 0: it did not
};

struct ExecGraphs {
  Lock lock;
  Map<ExecGraph> known;
};
constinit ExecGraphs g_execs;

constinit std::atomic<bool> g_any_graph_memory{false};
constinit std::atomic<bool> g_any_stale_pool{false};

constexpr std::uint64_t kNoRoom = ~std::uint64_t{0};

std::uint64_t Least(std::uint64_t a, std::uint64_t b) { return a < b ? a : b; }

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

/// Ends a hold and charges or gives back what the driver says. Returns what was not held. REQUIRES: the graph memory's lock.
std::uint64_t Follow(int device, GraphMemory& graph, std::uint64_t hold = 0) {
  cuuint64_t reserved = 0;
  const CUresult result =
      CallReal<Row::cuDeviceGetGraphMemAttribute>(graph.ordinal, CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT, static_cast<void*>(&reserved));
  if (result != CUDA_SUCCESS) reserved = graph.account.charged() - graph.account.held();
  if (reserved == 0 && graph.account.held() == hold) graph.needed = graph.live;  // nobody has any
  const auto settled = graph.account.Settle(hold, reserved);
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

/// Charges room for a launch that needs `bytes`. What all graphs together need, less what they have, is more than any launch can add.
bool TryHold(int device, GraphMemory& graph, std::uint64_t bytes, std::uint64_t* room) {
  constexpr std::uint64_t kPiece = 2U << 20;  // drivers take memory for graphs in pieces of this size at least
  const Locked locked(graph.lock);
  const std::uint64_t have = graph.account.charged();
  const std::uint64_t most = graph.needed > have ? Least(bytes, graph.needed - have) : 0;
  const std::uint64_t pieces = (most + kPiece - 1) / kPiece * kPiece;
  *room = Reserve(device, MemoryClass::kGraph, pieces) ? pieces : Reserve(device, MemoryClass::kGraph, most) ? most : kNoRoom;
  if (*room != kNoRoom) graph.account.Hold(*room);
  return *room != kNoRoom;
}

bool Hold(int device, std::uint64_t bytes, CUstream stream, std::uint64_t* room) {
  GraphMemory& graph = g_graph[device];
  if (TryHold(device, graph, bytes, room)) return true;
  ReleaseReserves(device);
  if (TryHold(device, graph, bytes, room)) return true;
  // A graph that runs keeps its memory until it has ended; one that follows it on its stream could have the same.
  if (limiter::Capturing(stream) || CallReal<Row::cuStreamSynchronize>(stream) != CUDA_SUCCESS) return false;
  ReleaseReserves(device);
  return TryHold(device, graph, bytes, room);
}

bool IsZero(const GraphFootprint& footprint) {
  std::uint64_t any = 0;
  for (const std::uint64_t bytes : footprint.bytes) any |= bytes;
  return any == 0;
}

void GiveBack(const GraphRoom& room) {
  for (int device = 0; device < static_cast<int>(shm::kMaxDevices); ++device) {
    if (room.bytes[device] == 0) continue;
    const Locked locked(g_graph[device].lock);
    Follow(device, g_graph[device], room.bytes[device]);
  }
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

void GraphInstantiated(CUgraphExec exec, CUgraph graph) {
  GraphFootprint footprint;
  if (!g_any_graph_memory.load(std::memory_order_relaxed) || !FootprintOf(graph, &footprint)) return;
  for (unsigned device = 0; device < shm::kMaxDevices; ++device) {
    if (footprint.bytes[device] == 0) continue;
    const Locked locked(g_graph[device].lock);
    g_graph[device].needed += footprint.bytes[device];
    g_graph[device].live += footprint.bytes[device];
  }
  const Locked locked(g_execs.lock);
  if (ExecGraph* known = g_execs.known.Place(KeyOf(exec)); known != nullptr) known->footprint = footprint;
}

bool MayLaunchGraph(CUgraphExec exec, CUstream stream, GraphRoom* room) {
  if (!g_any_graph_memory.load(std::memory_order_relaxed)) [[likely]]
    return true;
  ExecGraph graph{};
  {
    const Locked locked(g_execs.lock);
    if (const ExecGraph* known = g_execs.known.Find(KeyOf(exec)); known != nullptr) graph = *known;
  }
  if (graph.too_large != 0 && !GraphMemoryFits(static_cast<int>(graph.too_large_device), graph.too_large)) return false;
  if (IsZero(graph.footprint)) return true;
  room->any = true;
  for (std::uint64_t& bytes : room->bytes) bytes = 0;
  for (int device = 0; device < static_cast<int>(shm::kMaxDevices); ++device) {
    if (graph.footprint.bytes[device] == 0 || Hold(device, graph.footprint.bytes[device], stream, &room->bytes[device])) continue;
    room->bytes[device] = 0;
    GiveBack(*room);
    return false;
  }
  return true;
}

void GraphLaunched(CUgraphExec exec, const GraphRoom& room) {
  ForEachGraphMemory([&](int device, GraphMemory& memory) {
    if (Follow(device, memory, room.any ? room.bytes[device] : 0) == 0 || !OverLimit(device)) return;
    const Locked locked(g_execs.lock);
    if (ExecGraph* graph = g_execs.known.Place(KeyOf(exec)); graph != nullptr) {
      graph->too_large_device = static_cast<unsigned>(device);
      graph->too_large = memory.account.charged();
    }
  });
}

void GraphDestroyed(CUgraphExec exec) {
  if (!g_any_graph_memory.load(std::memory_order_relaxed)) return;
  ExecGraph known{};
  {
    const Locked locked(g_execs.lock);
    if (!g_execs.known.Take(KeyOf(exec), &known)) return;
  }
  for (unsigned device = 0; device < shm::kMaxDevices; ++device) {
    if (known.footprint.bytes[device] == 0) continue;
    const Locked locked(g_graph[device].lock);
    g_graph[device].live -= known.footprint.bytes[device];
  }
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
    graph.needed = graph.live = 0;
  }
  g_execs.lock.ResetInChild();
  g_execs.known.Clear();
  g_any_graph_memory.store(false, std::memory_order_relaxed);
  g_any_stale_pool.store(false, std::memory_order_relaxed);
}

}  // namespace partage::intercept::memory
