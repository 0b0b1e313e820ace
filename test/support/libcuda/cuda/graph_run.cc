// SPDX-License-Identifier: Apache-2.0
// Running graphs, the memory that they allocate and free, and capturing streams into them.
#include "test/support/libcuda/cuda/graph_run.h"

#include <algorithm>

namespace partage::fake_gpu {
namespace {

constexpr uint64_t kGraphChunk = 2 << 20;  // graph memory is taken from the device in pieces of this

bool GrowTo(GraphMemory& memory, int gpu, uint64_t used) {
  if (used > memory.reserved) {
    const uint64_t more = RoundUp(used - memory.reserved, kGraphChunk);
    if (!Gpus::Get().Reserve(gpu, more)) return false;
    memory.reserved += more;
    memory.reserved_high = std::max(memory.reserved_high, memory.reserved);
  }
  memory.used = used;
  memory.used_high = std::max(memory.used_high, used);
  return true;
}

CUresult RunAlloc(Driver& driver, Context& context, const GraphNode& node) {
  GraphMemory& memory = driver.graph_memory[static_cast<size_t>(context.device)];
  if (driver.memory.contains(node.address)) return CUDA_ERROR_INVALID_VALUE;  // the last run's is still there
  if (!GrowTo(memory, context.gpu, memory.used + node.bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  driver.memory[node.address] = {
      .kind = MemoryKind::kGraph, .size = node.bytes, .gpu = context.gpu, .device = context.device, .context = &context};
  return CUDA_SUCCESS;
}

/// What the run does to memory, in the order of the nodes; takes it back when something fails.
CUresult RunMemory(Driver& driver, Context& context, const GraphExec& exec) {
  std::vector<CUdeviceptr> allocated;
  for (const GraphNode& node : exec.nodes) {
    CUresult result = CUDA_SUCCESS;
    if (node.type == CU_GRAPH_NODE_TYPE_MEM_ALLOC) result = RunAlloc(driver, context, node);
    if (node.type == CU_GRAPH_NODE_TYPE_MEM_FREE) FreeAllocation(driver, node.address);
    if (result != CUDA_SUCCESS) {
      for (const CUdeviceptr address : allocated) FreeAllocation(driver, address);
      return result;
    }
    if (node.type == CU_GRAPH_NODE_TYPE_MEM_ALLOC) allocated.push_back(node.address);
  }
  return CUDA_SUCCESS;
}

/// The most that a run uses at one time, beyond what is used now.
uint64_t MostUsed(const GraphExec& exec) {
  std::map<CUdeviceptr, uint64_t> live;
  uint64_t used = 0, most = 0;
  for (const GraphNode& node : exec.nodes) {
    if (node.type == CU_GRAPH_NODE_TYPE_MEM_ALLOC) used += live[node.address] = node.bytes;
    if (node.type == CU_GRAPH_NODE_TYPE_MEM_FREE) used -= live[node.address], live.erase(node.address);
    most = std::max(most, used);
  }
  return most;
}

int64_t Sum(const std::vector<GraphNode>& nodes) {
  int64_t ns = 0;
  for (const GraphNode& node : nodes) ns += node.ns;
  return ns;
}

CUresult LaunchGraph(CUgraphExec handle, CUstream stream_handle) {
  if (FastMode()) return handle == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
  int gpu = 0;
  int64_t ns = 0;
  bool captured = false;
  std::vector<GraphNode> nodes;
  const CUresult result = InContext([&](Driver& driver, Context& context) {
    const GraphExec* exec = driver.graph_execs.Find(handle);
    Stream* stream = FindStream(driver, context, stream_handle);
    if (exec == nullptr || stream == nullptr) return CUDA_ERROR_INVALID_VALUE;
    gpu = stream->context->gpu;
    ns = Sum(exec->nodes);
    nodes = exec->nodes;
    captured = CaptureNode(driver, *stream, {.type = CU_GRAPH_NODE_TYPE_GRAPH, .ns = ns});
    return captured ? CUDA_SUCCESS : RunMemory(driver, context, *exec);
  });
  if (result != CUDA_SUCCESS || captured) return result;
  int64_t mark = 0;
  if (const CUresult error = QueueWork(stream_handle, gpu, ns, mark); error != CUDA_SUCCESS) return error;
  for (const GraphNode& node : nodes) {
    if (node.type == CU_GRAPH_NODE_TYPE_HOST) fake_cuLaunchHostFunc(stream_handle, node.host.fn, node.host.userData);
    if (node.type == CU_GRAPH_NODE_TYPE_EVENT_RECORD) fake_cuEventRecord(node.event, stream_handle);
  }
  return CUDA_SUCCESS;
}

cuuint64_t* Counter(GraphMemory& memory, CUgraphMem_attribute attribute) {
  switch (attribute) {
    case CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT: return &memory.used;
    case CU_GRAPH_MEM_ATTR_USED_MEM_HIGH: return &memory.used_high;
    case CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT: return &memory.reserved;
    case CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH: return &memory.reserved_high;
  }
  return nullptr;
}

CUresult BeginCapture(CUstream handle, CUgraph into) {
  return InContext([&](Driver& driver, Context& context) {
    Stream* stream = FindStream(driver, context, handle);
    const bool legacy = reinterpret_cast<uintptr_t>(handle) < 2;
    if (stream == nullptr || legacy || stream->capture != nullptr) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    stream->capture = std::make_shared<Capture>(Capture{driver.next_id++, handle, into != nullptr ? into : driver.graphs.Add({})});
    stream->last.clear();
    return CUDA_SUCCESS;
  });
}

void Leave(Stream& stream, const std::shared_ptr<Capture>& capture) {
  if (stream.capture != capture) return;
  stream.capture = nullptr;
  stream.last.clear();
}

/// What all forms of cuStreamGetCaptureInfo ask; outputs may be null.
CUresult CaptureInfo(CUstream handle, CUstreamCaptureStatus* status, cuuint64_t* id, CUgraph* graph, const CUgraphNode** needs,
                     size_t* count) {
  if (FastMode()) return *status = CU_STREAM_CAPTURE_STATUS_NONE, CUDA_SUCCESS;
  return InContext([&](Driver& driver, Context& context) {
    const Stream* stream = FindStream(driver, context, handle);
    if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (status == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *status = stream->capture == nullptr ? CU_STREAM_CAPTURE_STATUS_NONE : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    if (stream->capture == nullptr) return CUDA_SUCCESS;
    if (id != nullptr) *id = stream->capture->id;
    if (graph != nullptr) *graph = stream->capture->graph;
    if (needs != nullptr) *needs = reinterpret_cast<const CUgraphNode*>(stream->last.data());
    if (count != nullptr) *count = stream->last.size();
    return CUDA_SUCCESS;
  });
}

}  // namespace

GraphExec CopyToRun(const Graph& graph) {
  GraphExec exec;
  for (const auto& node : graph.nodes) {
    exec.nodes.push_back(*node);
    exec.nodes.back().origin = node.get();
  }
  return exec;
}

int64_t GraphNs(Driver& driver, CUgraph handle) {
  const Graph* graph = driver.graphs.Find(handle);
  return graph == nullptr ? 0 : Sum(CopyToRun(*graph).nodes);
}

bool CaptureNode(Driver& driver, Stream& stream, const GraphNode& node) {
  if (stream.capture == nullptr) return false;
  Graph* graph = driver.graphs.Find(stream.capture->graph);
  if (graph == nullptr) return true;  // destroyed meanwhile: what is captured goes nowhere
  graph->nodes.push_back(std::make_unique<GraphNode>(node));
  graph->nodes.back()->needs = stream.last;
  stream.last = {graph->nodes.back().get()};
  return true;
}

FAKE_CUDA(cuGraphLaunch)(CUgraphExec exec, CUstream stream) { return LaunchGraph(exec, stream); }
FAKE_CUDA_SAME(cuGraphLaunch_ptsz, cuGraphLaunch);

// Takes the memory of the next run beforehand.
FAKE_CUDA(cuGraphUpload)(CUgraphExec handle, CUstream) {
  return InContext([&](Driver& driver, Context& context) {
    const GraphExec* exec = driver.graph_execs.Find(handle);
    if (exec == nullptr) return CUDA_ERROR_INVALID_VALUE;
    GraphMemory& memory = driver.graph_memory[static_cast<size_t>(context.device)];
    const uint64_t used = memory.used;
    if (!GrowTo(memory, context.gpu, used + MostUsed(*exec))) return CUDA_ERROR_OUT_OF_MEMORY;
    memory.used = used;
    return CUDA_SUCCESS;
  });
}
FAKE_CUDA_SAME(cuGraphUpload_ptsz, cuGraphUpload);

FAKE_CUDA(cuStreamBeginCapture_v2)(CUstream stream, CUstreamCaptureMode) { return BeginCapture(stream, nullptr); }
FAKE_CUDA_SAME(cuStreamBeginCapture_v2_ptsz, cuStreamBeginCapture_v2);
FAKE_CUDA(cuStreamBeginCapture)(CUstream stream) { return BeginCapture(stream, nullptr); }
FAKE_CUDA_SAME(cuStreamBeginCapture_ptsz, cuStreamBeginCapture);
FAKE_CUDA(cuStreamBeginCaptureToGraph)
(CUstream stream, CUgraph graph, const CUgraphNode*, const CUgraphEdgeData*, size_t, CUstreamCaptureMode) {
  return graph == nullptr ? CUDA_ERROR_INVALID_VALUE : BeginCapture(stream, graph);
}
FAKE_CUDA_SAME(cuStreamBeginCaptureToGraph_ptsz, cuStreamBeginCaptureToGraph);

FAKE_CUDA(cuStreamEndCapture)(CUstream handle, CUgraph* out) {
  return InContext([&](Driver& driver, Context& context) {
    Stream* stream = FindStream(driver, context, handle);
    if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (stream == nullptr || stream->capture == nullptr || stream->capture->origin != handle) return CUDA_ERROR_ILLEGAL_STATE;
    const auto capture = stream->capture;
    *out = capture->graph;
    for (auto& [other, joined] : driver.streams) Leave(*joined, capture);
    for (auto& [other, joined] : driver.default_streams) Leave(joined, capture);
    return CUDA_SUCCESS;
  });
}
FAKE_CUDA_SAME(cuStreamEndCapture_ptsz, cuStreamEndCapture);

FAKE_CUDA(cuStreamIsCapturing)(CUstream stream, CUstreamCaptureStatus* status) {
  return CaptureInfo(stream, status, nullptr, nullptr, nullptr, nullptr);
}
FAKE_CUDA_SAME(cuStreamIsCapturing_ptsz, cuStreamIsCapturing);

FAKE_CUDA(cuStreamGetCaptureInfo)(CUstream stream, CUstreamCaptureStatus* status, cuuint64_t* id) {
  return CaptureInfo(stream, status, id, nullptr, nullptr, nullptr);
}
FAKE_CUDA_SAME(cuStreamGetCaptureInfo_ptsz, cuStreamGetCaptureInfo);

FAKE_CUDA(cuStreamGetCaptureInfo_v2)
(CUstream stream, CUstreamCaptureStatus* status, cuuint64_t* id, CUgraph* graph, const CUgraphNode** needs, size_t* count) {
  return CaptureInfo(stream, status, id, graph, needs, count);
}
FAKE_CUDA_SAME(cuStreamGetCaptureInfo_v2_ptsz, cuStreamGetCaptureInfo_v2);

FAKE_CUDA(cuStreamGetCaptureInfo_v3)
(CUstream stream, CUstreamCaptureStatus* status, cuuint64_t* id, CUgraph* graph, const CUgraphNode** needs, const CUgraphEdgeData** edges,
 size_t* count) {
  if (edges != nullptr) *edges = nullptr;
  return CaptureInfo(stream, status, id, graph, needs, count);
}
FAKE_CUDA_SAME(cuStreamGetCaptureInfo_v3_ptsz, cuStreamGetCaptureInfo_v3);

FAKE_CUDA(cuThreadExchangeStreamCaptureMode)(CUstreamCaptureMode* mode) {
  thread_local CUstreamCaptureMode current = CU_STREAM_CAPTURE_MODE_GLOBAL;
  if (mode == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::swap(*mode, current);
  return CUDA_SUCCESS;
}

FAKE_CUDA(cuDeviceGetGraphMemAttribute)(CUdevice device, CUgraphMem_attribute attribute, void* value) {
  return InDriver([&](Driver& driver) {
    if (!ValidDevice(device)) return CUDA_ERROR_INVALID_DEVICE;
    const cuuint64_t* counter = Counter(driver.graph_memory[static_cast<size_t>(device)], attribute);
    if (counter == nullptr || value == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *static_cast<cuuint64_t*>(value) = *counter;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuDeviceSetGraphMemAttribute)(CUdevice device, CUgraphMem_attribute attribute, void*) {
  return InDriver([&](Driver& driver) {
    if (!ValidDevice(device)) return CUDA_ERROR_INVALID_DEVICE;
    GraphMemory& memory = driver.graph_memory[static_cast<size_t>(device)];
    if (attribute == CU_GRAPH_MEM_ATTR_USED_MEM_HIGH) memory.used_high = memory.used;
    if (attribute == CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH) memory.reserved_high = memory.reserved;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuDeviceGraphMemTrim)(CUdevice device) {
  return InDriver([&](Driver& driver) {
    if (!ValidDevice(device)) return CUDA_ERROR_INVALID_DEVICE;
    GraphMemory& memory = driver.graph_memory[static_cast<size_t>(device)];
    const uint64_t kept = RoundUp(memory.used, kGraphChunk);
    if (kept < memory.reserved) Gpus::Get().Release(GpuOf(device), memory.reserved - kept);
    memory.reserved = std::min(memory.reserved, kept);
    return CUDA_SUCCESS;
  });
}

}  // namespace partage::fake_gpu
