// SPDX-License-Identifier: Apache-2.0
// Graphs launch many kernels with one call; an executable graph is priced by itself, like a kernel. What is launched while a stream captures runs
// later or never: it must neither wait nor be measured, so captures are counted here.
#include "intercept/hook.h"
#include "intercept/limiter/gate.h"
#include "intercept/memory/reserve.h"

namespace partage::intercept {
namespace {

using namespace limiter;

template <class Submit>
CUresult LaunchGraph(CUgraphExec exec, CUstream stream, Submit&& submit) {
  const int device = Metered() ? Device() : -1;
  return device >= 0 ? Pass(GraphKey(exec, device), device, stream, submit) : submit();
}

/// Memory that the graph owns may grow with the call.
template <class Submit>
CUresult WithItsMemory(CUgraphExec exec, CUstream stream, Submit&& submit) {
  if (!Active()) return submit();
  memory::GraphRoom room;
  if (!memory::MayLaunchGraph(exec, stream, &room)) return CUDA_ERROR_OUT_OF_MEMORY;
  const CUresult result = submit();
  memory::GraphLaunched(exec, room);
  return result;
}

CUresult Instantiated(CUresult result, const CUgraphExec* exec, CUgraph graph) {
  if (result == CUDA_SUCCESS && Active() && exec != nullptr) memory::GraphInstantiated(*exec, graph);
  return result;
}

/// A graph that is to be uploaded as soon as it is executable is uploaded as others are: only then is it known what it needs.
template <class Upload>
CUresult InstantiatedAndUploaded(CUresult (*real)(CUgraphExec*, CUgraph, CUDA_GRAPH_INSTANTIATE_PARAMS*), CUgraphExec* exec, CUgraph graph,
                                 CUDA_GRAPH_INSTANTIATE_PARAMS* parameters, Upload&& upload) {
  constexpr cuuint64_t kUpload = 2;
  if (!Active() || exec == nullptr || parameters == nullptr || (parameters->flags & kUpload) == 0)
    return Instantiated(real(exec, graph, parameters), exec, graph);
  CUDA_GRAPH_INSTANTIATE_PARAMS later = *parameters;
  later.flags &= ~kUpload;
  CUresult result = Instantiated(real(exec, graph, &later), exec, graph);
  parameters->hErrNode_out = later.hErrNode_out;
  parameters->result_out = later.result_out;
  if (result != CUDA_SUCCESS) return result;
  result = upload(*exec, parameters->hUploadStream);
  if (result == CUDA_SUCCESS) return result;
  memory::GraphDestroyed(*exec);
  CallReal<Row::cuGraphExecDestroy>(*exec);
  *exec = nullptr;
  return result;
}

template <class Begin>
CUresult BeginCapture(Begin&& begin) {
  if (!Active()) return begin();
  {
    const NoEventsMeanwhile until_it_counts;  // whoever asks afterwards sees it
    g_gate.captures.fetch_add(1, std::memory_order_relaxed);
  }
  const CUresult result = begin();
  if (result != CUDA_SUCCESS) g_gate.captures.fetch_sub(1, std::memory_order_relaxed);
  return result;
}

/// Ending fails in ways that end the capture and in ways that do not: the stream is asked.
template <class End>
CUresult EndCapture(CUstream stream, End&& end) {
  if (!Active() || !Capturing(stream)) return end();
  const CUresult result = end();
  if (result == CUDA_SUCCESS || !CapturingSlow(stream)) g_gate.captures.fetch_sub(1, std::memory_order_relaxed);
  return result;
}

}  // namespace

PARTAGE_HOOK(CUresult, cuGraphLaunch, (CUgraphExec graph, CUstream stream)) {
  const CUstream legacy = LegacyStream(stream);
  return WithItsMemory(graph, legacy, [&] { return LaunchGraph(graph, legacy, [&] { return Real(graph, stream); }); });
}
PARTAGE_HOOK(CUresult, cuGraphLaunch_ptsz, (CUgraphExec graph_exec, CUstream stream)) {
  const CUstream own = PerThreadStream(stream);
  return WithItsMemory(graph_exec, own, [&] { return LaunchGraph(graph_exec, own, [&] { return Real(graph_exec, stream); }); });
}

PARTAGE_HOOK(CUresult, cuGraphUpload, (CUgraphExec graph, CUstream stream)) {
  return WithItsMemory(graph, LegacyStream(stream), [&] { return Real(graph, stream); });
}
PARTAGE_HOOK(CUresult, cuGraphUpload_ptsz, (CUgraphExec graph_exec, CUstream stream)) {
  return WithItsMemory(graph_exec, PerThreadStream(stream), [&] { return Real(graph_exec, stream); });
}

PARTAGE_HOOK(CUresult, cuGraphInstantiate,
             (CUgraphExec * ph_graph_exec, CUgraph graph, CUgraphNode* ph_error_node, char* log_buffer, size_t buffer_size)) {
  return Instantiated(Real(ph_graph_exec, graph, ph_error_node, log_buffer, buffer_size), ph_graph_exec, graph);
}
PARTAGE_HOOK(CUresult, cuGraphInstantiate_v2,
             (CUgraphExec * ph_graph_exec, CUgraph graph, CUgraphNode* ph_error_node, char* log_buffer, size_t buffer_size)) {
  return Instantiated(Real(ph_graph_exec, graph, ph_error_node, log_buffer, buffer_size), ph_graph_exec, graph);
}
PARTAGE_HOOK(CUresult, cuGraphInstantiateWithFlags, (CUgraphExec * ph_graph_exec, CUgraph graph, unsigned long long flags)) {
  return Instantiated(Real(ph_graph_exec, graph, flags), ph_graph_exec, graph);
}
PARTAGE_HOOK(CUresult, cuGraphInstantiateWithParams,
             (CUgraphExec * ph_graph_exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS* instantiate_params)) {
  return InstantiatedAndUploaded(Real, ph_graph_exec, graph, instantiate_params, [](CUgraphExec exec, CUstream stream) {
    return WithItsMemory(exec, LegacyStream(stream), [&] { return CallReal<Row::cuGraphUpload>(exec, stream); });
  });
}
PARTAGE_HOOK(CUresult, cuGraphInstantiateWithParams_ptsz,
             (CUgraphExec * ph_graph_exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS* instantiate_params)) {
  return InstantiatedAndUploaded(Real, ph_graph_exec, graph, instantiate_params, [](CUgraphExec exec, CUstream stream) {
    return WithItsMemory(exec, PerThreadStream(stream), [&] { return CallReal<Row::cuGraphUpload_ptsz>(exec, stream); });
  });
}

// Another graph may get the same handle.
PARTAGE_HOOK(CUresult, cuGraphExecDestroy, (CUgraphExec graph_exec)) {
  if (Metered()) {
    for (int device = 0; device < kLimiterDevices; ++device) g_limiter.costs().Forget(GraphKey(graph_exec, device));
  }
  memory::GraphDestroyed(graph_exec);
  return Real(graph_exec);
}

PARTAGE_HOOK(CUresult, cuStreamBeginCapture, (CUstream stream)) {
  return BeginCapture([&] { return Real(stream); });
}
PARTAGE_HOOK(CUresult, cuStreamBeginCapture_ptsz, (CUstream stream)) {
  return BeginCapture([&] { return Real(stream); });
}
PARTAGE_HOOK(CUresult, cuStreamBeginCapture_v2, (CUstream stream, CUstreamCaptureMode mode)) {
  return BeginCapture([&] { return Real(stream, mode); });
}
PARTAGE_HOOK(CUresult, cuStreamBeginCapture_v2_ptsz, (CUstream stream, CUstreamCaptureMode mode)) {
  return BeginCapture([&] { return Real(stream, mode); });
}
PARTAGE_HOOK(CUresult, cuStreamBeginCaptureToGraph,
             (CUstream stream, CUgraph graph, const CUgraphNode* dependencies, const CUgraphEdgeData* dependency_data,
              size_t num_dependencies, CUstreamCaptureMode mode)) {
  return BeginCapture([&] { return Real(stream, graph, dependencies, dependency_data, num_dependencies, mode); });
}
PARTAGE_HOOK(CUresult, cuStreamBeginCaptureToGraph_ptsz,
             (CUstream stream, CUgraph graph, const CUgraphNode* dependencies, const CUgraphEdgeData* dependency_data,
              size_t num_dependencies, CUstreamCaptureMode mode)) {
  return BeginCapture([&] { return Real(stream, graph, dependencies, dependency_data, num_dependencies, mode); });
}

PARTAGE_HOOK(CUresult, cuStreamEndCapture, (CUstream stream, CUgraph* ph_graph)) {
  return EndCapture(LegacyStream(stream), [&] { return Real(stream, ph_graph); });
}
PARTAGE_HOOK(CUresult, cuStreamEndCapture_ptsz, (CUstream stream, CUgraph* ph_graph)) {
  return EndCapture(PerThreadStream(stream), [&] { return Real(stream, ph_graph); });
}

}  // namespace partage::intercept
