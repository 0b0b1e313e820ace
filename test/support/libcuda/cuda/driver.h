// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/intercept/api/cuda.h"
#include "test/support/libcuda/cuda/arena.h"
#include "test/support/libcuda/cuda/exports.h"
#include "test/support/libcuda/gpu/gpus.h"
#include "test/support/libcuda/gpu/profile.h"
#include "test/support/libcuda/version.h"

/// FAKE_CUDA(cuInit)(unsigned flags) { … } gives an export what it does; FAKE_CUDA_SAME(cuX_ptsz, cuX), below it, lets a second export do the
/// same. Both compare with the table of entry points: another type or an unknown name does not compile.
#define FAKE_CUDA(name) extern "C" __attribute__((visibility("hidden"))) CUresult fake_##name
#define FAKE_CUDA_SAME(other, name) \
  extern "C" __attribute__((visibility("hidden"), alias("fake_" #name))) decltype(fake_##name) fake_##other

namespace partage::fake_gpu {

using namespace intercept;

#define PARTAGE_CUDA_FUNCTION(result, name, parameters, arguments, since, group) \
  extern "C" __attribute__((visibility("hidden"))) result fake_##name parameters;
#include "src/intercept/api/cuda_functions.inc"
#undef PARTAGE_CUDA_FUNCTION

/// A node of a graph, or its copy in an executable graph.
struct GraphNode {
  CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
  int64_t ns = 0;
  GraphNode* origin = nullptr;  // of a copy: the node it was made from
  std::vector<GraphNode*> needs;
  CUDA_KERNEL_NODE_PARAMS kernel{};
  CUDA_MEMSET_NODE_PARAMS memset{};
  CUDA_HOST_NODE_PARAMS host{};
  CUgraph child = nullptr;
  CUevent event = nullptr;
  CUdeviceptr address = 0;  // of memory allocated or freed
  uint64_t bytes = 0;
  CUmemLocation location{};  // where it is allocated
};

struct Graph {
  std::vector<std::unique_ptr<GraphNode>> nodes;
};

struct GraphExec {
  std::vector<GraphNode> nodes;
};

struct Context {
  CUdevice device = 0;  // CUDA's ordinal
  int gpu = 0;          // the profile's index
  bool primary = false;
  bool alive = true;
  int retained = 0;
  unsigned flags = 0;
  unsigned version = 0;
  uint64_t id = 0;
  std::map<unsigned, size_t> limits;
  uint64_t heap_bytes = 0;  // device memory for kernels' malloc beyond what every context has
};

/// A capture into a graph, shared by the streams that take part.
struct Capture {
  uint64_t id = 0;
  CUstream origin = nullptr;
  CUgraph graph = nullptr;
};

struct Stream {
  Context* context = nullptr;
  unsigned flags = 0;
  int priority = 0;
  uint64_t id = 0;
  int64_t mark = 0;        // of the last work queued through it
  uint64_t host_call = 0;  // number of the last host function queued through it
  std::shared_ptr<Capture> capture;
  std::vector<GraphNode*> last;  // what the next captured node depends on
};

struct Event {
  Context* context = nullptr;
  unsigned flags = 0;
  bool recorded = false;
  int64_t recorded_at = 0;
  int64_t mark = 0;
  std::shared_ptr<Capture> capture;
  std::vector<GraphNode*> last;
};

struct Module {
  Context* context = nullptr;
  uint64_t bytes = 0;
};

/// A CUfunction, or a CUkernel of a library: both can be launched.
struct Function {
  std::string name;
  CUmodule module = nullptr;
  int64_t ns = 0;
  bool by_parameter = false;  // the first parameter, a uint64_t, says how many ns it takes
};

struct Pool {
  CUdevice device = 0;
  int gpu = 0;  // -1: host memory, never counted
  uint64_t used = 0, used_high = 0;
  uint64_t reserved = 0, reserved_high = 0;
  uint64_t threshold = 0;
};

enum class MemoryKind { kLinear, kManaged, kPool, kGraph, kImported };

struct Allocation {
  MemoryKind kind = MemoryKind::kLinear;
  uint64_t size = 0;
  uint64_t taken = 0;  // device memory to give back
  int gpu = 0;
  CUdevice device = 0;
  Context* context = nullptr;
  Pool* pool = nullptr;
  bool low = false;  // its address has 32 bits
};

/// What a cuMemCreate handle stands for: gone when neither handles nor mappings are left.
struct Physical {
  CUmemAllocationProp properties{};
  uint64_t size = 0;
  int gpu = -1;  // -1: host memory
  int handles = 0;
  int mappings = 0;
};

struct Array {
  Context* context = nullptr;
  CUDA_ARRAY3D_DESCRIPTOR descriptor{};
  unsigned levels = 1;
  uint64_t bytes = 0;
  bool owned = true;  // a level of a mipmapped array is not
};

/// Live objects of one kind by handle; a handle is the object's address.
template <class Handle, class T>
class Handles {
 public:
  Handle Add(T object) {
    auto owned = std::make_unique<T>(std::move(object));
    const auto handle = reinterpret_cast<Handle>(owned.get());
    objects_[handle] = std::move(owned);
    return handle;
  }
  T* Find(Handle handle) {
    const auto found = objects_.find(handle);
    return found == objects_.end() ? nullptr : found->second.get();
  }
  bool Remove(Handle handle) { return objects_.erase(handle) > 0; }
  auto begin() { return objects_.begin(); }
  auto end() { return objects_.end(); }

 private:
  std::unordered_map<Handle, std::unique_ptr<T>> objects_;
};

/// Memory of graphs on one device: kept by the driver until it is trimmed.
struct GraphMemory {
  uint64_t used = 0, used_high = 0;
  uint64_t reserved = 0, reserved_high = 0;
};

/// Everything this process has of the driver. One mutex guards it all, and is never held while waiting for a GPU.
struct Driver {
  static Driver& Get();

  std::mutex mutex;
  bool initialised = false;
  bool lost = false;         // in a child forked after cuInit, where CUDA does not work
  std::vector<int> visible;  // profile index by CUDA ordinal
  std::vector<Context*> primaries;
  std::set<Context*> contexts;  // also destroyed ones: threads may still have them current
  Handles<CUstream, Stream> streams;
  std::map<std::pair<Context*, CUstream>, Stream> default_streams;
  Handles<CUevent, Event> events;
  Handles<CUmodule, Module> modules;
  Handles<CUfunction, Function> functions;
  std::map<CUdeviceptr, Allocation> memory;
  std::map<void*, size_t> host_memory;
  Arena arena;
  Arena low_arena{uint64_t{1} << 30, uint64_t{3} << 30};  // addresses of CUDA 2's interface, which have 32 bits
  Handles<CUmemoryPool, Pool> pools;
  std::vector<CUmemoryPool> default_pools, current_pools;  // by ordinal
  std::map<CUmemGenericAllocationHandle, std::shared_ptr<Physical>> physical;
  std::map<CUdeviceptr, std::pair<uint64_t, std::shared_ptr<Physical>>> mappings;
  std::map<CUdeviceptr, uint64_t> reservations;
  Handles<CUarray, Array> arrays;
  std::vector<GraphMemory> graph_memory;  // by ordinal
  Handles<CUgraph, Graph> graphs;
  Handles<CUgraphExec, GraphExec> graph_execs;
  uint64_t next_id = 1;
};

/// Whether CUDA works in this process: CUDA_SUCCESS, or CUDA_ERROR_NOT_INITIALIZED.
CUresult Initialised();
/// The calling thread's context, or the error that having none is.
CUresult CurrentContext(Context*& context);
bool ValidDevice(CUdevice device);
int GpuOf(CUdevice device);

/// Runs `body(Driver&, Context&)` with the driver's lock held and the thread's context; or gives the error that having none is.
template <class Body>
CUresult InContext(Body body) {
  Context* context = nullptr;
  if (const CUresult error = CurrentContext(context); error != CUDA_SUCCESS) return error;
  Driver& driver = Driver::Get();
  const std::lock_guard lock(driver.mutex);
  return body(driver, *context);
}

/// Runs `body(Driver&)` with the driver's lock held, after cuInit; or gives CUDA_ERROR_NOT_INITIALIZED.
template <class Body>
CUresult InDriver(Body body) {
  if (const CUresult error = Initialised(); error != CUDA_SUCCESS) return error;
  Driver& driver = Driver::Get();
  const std::lock_guard lock(driver.mutex);
  return body(driver);
}

inline uint64_t RoundUp(uint64_t bytes, uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

/// Queues `ns` of work through the stream and returns its mark. Blocks while the GPU's queue is full: REQUIRES the driver's lock not held.
CUresult QueueWork(CUstream handle, int gpu, int64_t ns, int64_t& mark);

// --- what the files have of each other; all with the driver's lock held ---

/// The stream of a handle: NULL and the special handles mean one per context. Null when it is none.
Stream* FindStream(Driver& driver, Context& context, CUstream handle);
/// The context's pools give back what is above their thresholds, as at every synchronisation.
void TrimPools(Driver& driver, CUdevice device);
/// Adds an address range of `size` bytes; the memory is taken already.
CUdeviceptr AddAllocation(Driver& driver, const Allocation& allocation);
/// Frees whatever the address is the start of; false when it is none.
bool FreeAllocation(Driver& driver, CUdeviceptr address);
/// The allocation around an address; null when there is none.
const std::pair<const CUdeviceptr, Allocation>* FindAllocation(Driver& driver, CUdeviceptr address);
void DropContextObjects(Driver& driver, Context& context);

// --- capture (graph.cc) ---

/// Adds the node, after what the stream captured last, where it is capturing; false when it is not.
bool CaptureNode(Driver& driver, Stream& stream, const GraphNode& node);

// --- kernels (launch.cc) ---

/// How long the kernel takes with these parameters; false when it is no kernel.
bool KernelNs(Driver& driver, CUfunction function, void** parameters, int64_t& ns);

// --- host functions (host_calls.cc) ---

/// Calls `fn(data)` on a thread of the driver's once the GPU has reached `mark`; returns the call's number.
uint64_t QueueHostCall(int gpu, int64_t mark, CUhostFn fn, void* data);
void WaitHostCall(uint64_t number);
bool HostCallDone(uint64_t number);

}  // namespace partage::fake_gpu
