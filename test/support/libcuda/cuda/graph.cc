// SPDX-License-Identifier: Apache-2.0
// Graphs: nodes added one by one, copies that run, and changing those. A graph's run is one piece of GPU work as long as its nodes together.
#include <algorithm>

#include "test/support/libcuda/cuda/graph_run.h"

namespace partage::fake_gpu {
namespace {

CUgraphNode Handle(GraphNode* node) { return reinterpret_cast<CUgraphNode>(node); }
GraphNode* Node(CUgraphNode handle) { return reinterpret_cast<GraphNode*>(handle); }

CUDA_KERNEL_NODE_PARAMS Widen(const CUDA_KERNEL_NODE_PARAMS_v1& p) {
  return {p.func, p.gridDimX, p.gridDimY, p.gridDimZ, p.blockDimX, p.blockDimY, p.blockDimZ, p.sharedMemBytes, p.kernelParams, p.extra};
}

bool SetKernel(Driver& driver, GraphNode& node, CUDA_KERNEL_NODE_PARAMS parameters) {
  if (parameters.func == nullptr) parameters.func = reinterpret_cast<CUfunction>(parameters.kern);
  node.type = CU_GRAPH_NODE_TYPE_KERNEL;
  node.kernel = parameters;
  return KernelNs(driver, parameters.func, parameters.kernelParams, node.ns);
}

CUresult Add(CUgraphNode* out, CUgraph handle, const CUgraphNode* needs, size_t count, GraphNode node) {
  return InDriver([&](Driver& driver) {
    Graph* graph = driver.graphs.Find(handle);
    if (out == nullptr || graph == nullptr || (count > 0 && needs == nullptr)) return CUDA_ERROR_INVALID_VALUE;
    if (node.type == CU_GRAPH_NODE_TYPE_KERNEL && !SetKernel(driver, node, node.kernel)) return CUDA_ERROR_INVALID_VALUE;
    if (node.child != nullptr) node.ns = GraphNs(driver, node.child);
    for (size_t i = 0; i < count; ++i) node.needs.push_back(Node(needs[i]));
    graph->nodes.push_back(std::make_unique<GraphNode>(std::move(node)));
    *out = Handle(graph->nodes.back().get());
    return CUDA_SUCCESS;
  });
}

/// Nodes by the tables' rule: with no array, how many there are; else as many as the array has room for.
template <class Nodes>
CUresult List(const Nodes& nodes, CUgraphNode* out, size_t* count) {
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (out != nullptr) {
    for (size_t i = 0; i < *count; ++i) out[i] = i < nodes.size() ? Handle(&*nodes[i]) : nullptr;
  }
  *count = out == nullptr ? nodes.size() : std::min(*count, nodes.size());
  return CUDA_SUCCESS;
}

CUresult Instantiate(CUgraphExec* out, CUgraph handle) {
  return InContext([&](Driver& driver, Context&) {
    const Graph* graph = driver.graphs.Find(handle);
    if (out == nullptr || graph == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *out = driver.graph_execs.Add(CopyToRun(*graph));
    return CUDA_SUCCESS;
  });
}

CUresult Update(CUgraphExec exec_handle, CUgraph handle) {
  return InContext([&](Driver& driver, Context&) {
    GraphExec* exec = driver.graph_execs.Find(exec_handle);
    const Graph* graph = driver.graphs.Find(handle);
    if (exec == nullptr || graph == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (exec->nodes.size() != graph->nodes.size()) return static_cast<CUresult>(910);  // CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE
    *exec = CopyToRun(*graph);
    return CUDA_SUCCESS;
  });
}

/// Runs `body(Driver&, node)` on the executable graph's copy of a node.
template <class Body>
CUresult OnCopy(CUgraphExec exec_handle, CUgraphNode origin, Body body) {
  return InDriver([&](Driver& driver) {
    GraphExec* exec = driver.graph_execs.Find(exec_handle);
    if (exec == nullptr) return CUDA_ERROR_INVALID_VALUE;
    for (GraphNode& node : exec->nodes) {
      if (node.origin == Node(origin)) return body(driver, node);
    }
    return CUDA_ERROR_INVALID_VALUE;
  });
}

CUresult SetKernelOfCopy(CUgraphExec exec, CUgraphNode origin, const CUDA_KERNEL_NODE_PARAMS& parameters) {
  return OnCopy(exec, origin, [&](Driver& driver, GraphNode& node) {
    return SetKernel(driver, node, parameters) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  });
}

CUresult SetKernelOfNode(CUgraphNode handle, const CUDA_KERNEL_NODE_PARAMS& parameters) {
  return InDriver([&](Driver& driver) { return SetKernel(driver, *Node(handle), parameters) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE; });
}

}  // namespace

FAKE_CUDA(cuGraphCreate)(CUgraph* out, unsigned flags) {
  return InDriver([&](Driver& driver) {
    if (out == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
    *out = driver.graphs.Add({});
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuGraphDestroy)(CUgraph graph) {
  return InDriver([&](Driver& driver) { return driver.graphs.Remove(graph) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE; });
}

FAKE_CUDA(cuGraphClone)(CUgraph* out, CUgraph handle) {
  return InDriver([&](Driver& driver) {
    const Graph* graph = driver.graphs.Find(handle);
    if (out == nullptr || graph == nullptr) return CUDA_ERROR_INVALID_VALUE;
    Graph copy;
    for (const auto& node : graph->nodes) copy.nodes.push_back(std::make_unique<GraphNode>(*node));
    *out = driver.graphs.Add(std::move(copy));
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuGraphAddKernelNode_v2)
(CUgraphNode* out, CUgraph graph, const CUgraphNode* needs, size_t count, const CUDA_KERNEL_NODE_PARAMS* parameters) {
  if (parameters == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return Add(out, graph, needs, count, {.type = CU_GRAPH_NODE_TYPE_KERNEL, .kernel = *parameters});
}

FAKE_CUDA(cuGraphAddKernelNode)
(CUgraphNode* out, CUgraph graph, const CUgraphNode* needs, size_t count, const CUDA_KERNEL_NODE_PARAMS_v1* parameters) {
  if (parameters == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return Add(out, graph, needs, count, {.type = CU_GRAPH_NODE_TYPE_KERNEL, .kernel = Widen(*parameters)});
}

FAKE_CUDA(cuGraphAddMemcpyNode)
(CUgraphNode* out, CUgraph graph, const CUgraphNode* needs, size_t count, const CUDA_MEMCPY3D* copy, CUcontext) {
  return copy == nullptr ? CUDA_ERROR_INVALID_VALUE : Add(out, graph, needs, count, {.type = CU_GRAPH_NODE_TYPE_MEMCPY});
}

FAKE_CUDA(cuGraphAddMemsetNode)
(CUgraphNode* out, CUgraph graph, const CUgraphNode* needs, size_t count, const CUDA_MEMSET_NODE_PARAMS* parameters, CUcontext) {
  if (parameters == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return Add(out, graph, needs, count, {.type = CU_GRAPH_NODE_TYPE_MEMSET, .memset = *parameters});
}

FAKE_CUDA(cuGraphAddHostNode)
(CUgraphNode* out, CUgraph graph, const CUgraphNode* needs, size_t count, const CUDA_HOST_NODE_PARAMS* parameters) {
  return parameters == nullptr ? CUDA_ERROR_INVALID_VALUE
                               : Add(out, graph, needs, count, {.type = CU_GRAPH_NODE_TYPE_HOST, .host = *parameters});
}

FAKE_CUDA(cuGraphAddEmptyNode)(CUgraphNode* out, CUgraph graph, const CUgraphNode* needs, size_t count) {
  return Add(out, graph, needs, count, {});
}

FAKE_CUDA(cuGraphAddChildGraphNode)(CUgraphNode* out, CUgraph graph, const CUgraphNode* needs, size_t count, CUgraph child) {
  return Add(out, graph, needs, count, {.type = CU_GRAPH_NODE_TYPE_GRAPH, .child = child});
}

FAKE_CUDA(cuGraphAddEventRecordNode)(CUgraphNode* out, CUgraph graph, const CUgraphNode* needs, size_t count, CUevent event) {
  return Add(out, graph, needs, count, {.type = CU_GRAPH_NODE_TYPE_EVENT_RECORD, .event = event});
}

FAKE_CUDA(cuGraphAddEventWaitNode)(CUgraphNode* out, CUgraph graph, const CUgraphNode* needs, size_t count, CUevent event) {
  return Add(out, graph, needs, count, {.type = CU_GRAPH_NODE_TYPE_WAIT_EVENT, .event = event});
}

FAKE_CUDA(cuGraphAddMemAllocNode)
(CUgraphNode* out, CUgraph graph, const CUgraphNode* needs, size_t count, CUDA_MEM_ALLOC_NODE_PARAMS* parameters) {
  if (parameters == nullptr || parameters->bytesize == 0) return CUDA_ERROR_INVALID_VALUE;
  const CUresult taken = InDriver([&](Driver& driver) {
    parameters->dptr = driver.arena.Take(parameters->bytesize);
    return parameters->dptr == 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
  });
  if (taken != CUDA_SUCCESS) return taken;
  return Add(out, graph, needs, count,
             {.type = CU_GRAPH_NODE_TYPE_MEM_ALLOC,
              .address = parameters->dptr,
              .bytes = parameters->bytesize,
              .location = parameters->poolProps.location});
}

FAKE_CUDA(cuGraphAddMemFreeNode)(CUgraphNode* out, CUgraph graph, const CUgraphNode* needs, size_t count, CUdeviceptr address) {
  return Add(out, graph, needs, count, {.type = CU_GRAPH_NODE_TYPE_MEM_FREE, .address = address});
}

FAKE_CUDA(cuGraphAddNode)(CUgraphNode* out, CUgraph graph, const CUgraphNode* needs, size_t count, CUgraphNodeParams* parameters) {
  if (parameters == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (parameters->type == CU_GRAPH_NODE_TYPE_KERNEL) return fake_cuGraphAddKernelNode_v2(out, graph, needs, count, &parameters->kernel);
  if (parameters->type == CU_GRAPH_NODE_TYPE_MEM_ALLOC) return fake_cuGraphAddMemAllocNode(out, graph, needs, count, &parameters->alloc);
  return Add(out, graph, needs, count, {.type = parameters->type});
}

FAKE_CUDA(cuGraphAddNode_v2)
(CUgraphNode* out, CUgraph graph, const CUgraphNode* needs, const CUgraphEdgeData*, size_t count, CUgraphNodeParams* parameters) {
  return fake_cuGraphAddNode(out, graph, needs, count, parameters);
}

FAKE_CUDA(cuGraphAddNode_v3)
(CUgraphNode* out, CUgraph graph, const CUgraphNode* needs, const CUgraphEdgeData*, size_t count, CUgraphNodeParams* parameters) {
  return fake_cuGraphAddNode(out, graph, needs, count, parameters);
}

FAKE_CUDA(cuGraphGetNodes)(CUgraph handle, CUgraphNode* nodes, size_t* count) {
  return InDriver([&](Driver& driver) {
    const Graph* graph = driver.graphs.Find(handle);
    return graph == nullptr ? CUDA_ERROR_INVALID_VALUE : List(graph->nodes, nodes, count);
  });
}

FAKE_CUDA(cuGraphGetRootNodes)(CUgraph handle, CUgraphNode* nodes, size_t* count) {
  return InDriver([&](Driver& driver) {
    const Graph* graph = driver.graphs.Find(handle);
    if (graph == nullptr) return CUDA_ERROR_INVALID_VALUE;
    std::vector<GraphNode*> roots;
    for (const auto& node : graph->nodes) {
      if (node->needs.empty()) roots.push_back(node.get());
    }
    return List(roots, nodes, count);
  });
}

FAKE_CUDA(cuGraphNodeGetType)(CUgraphNode node, CUgraphNodeType* type) {
  return node == nullptr || type == nullptr ? CUDA_ERROR_INVALID_VALUE : (*type = Node(node)->type, CUDA_SUCCESS);
}

FAKE_CUDA(cuGraphNodeGetDependencies)(CUgraphNode node, CUgraphNode* needs, size_t* count) {
  return InDriver([&](Driver&) { return node == nullptr ? CUDA_ERROR_INVALID_VALUE : List(Node(node)->needs, needs, count); });
}

FAKE_CUDA(cuGraphKernelNodeGetParams_v2)(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS* out) {
  return node == nullptr || out == nullptr ? CUDA_ERROR_INVALID_VALUE : (*out = Node(node)->kernel, CUDA_SUCCESS);
}

FAKE_CUDA(cuGraphKernelNodeGetParams)(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS_v1* out) {
  if (node == nullptr || out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const auto& p = Node(node)->kernel;
  *out = {p.func, p.gridDimX, p.gridDimY, p.gridDimZ, p.blockDimX, p.blockDimY, p.blockDimZ, p.sharedMemBytes, p.kernelParams, p.extra};
  return CUDA_SUCCESS;
}

FAKE_CUDA(cuGraphKernelNodeSetParams_v2)(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS* parameters) {
  return node == nullptr || parameters == nullptr ? CUDA_ERROR_INVALID_VALUE : SetKernelOfNode(node, *parameters);
}
FAKE_CUDA(cuGraphKernelNodeSetParams)(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v1* parameters) {
  return node == nullptr || parameters == nullptr ? CUDA_ERROR_INVALID_VALUE : SetKernelOfNode(node, Widen(*parameters));
}
FAKE_CUDA(cuGraphExecKernelNodeSetParams_v2)(CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS* parameters) {
  return parameters == nullptr ? CUDA_ERROR_INVALID_VALUE : SetKernelOfCopy(exec, node, *parameters);
}
FAKE_CUDA(cuGraphExecKernelNodeSetParams)(CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v1* parameters) {
  return parameters == nullptr ? CUDA_ERROR_INVALID_VALUE : SetKernelOfCopy(exec, node, Widen(*parameters));
}

FAKE_CUDA(cuGraphMemAllocNodeGetParams)(CUgraphNode node, CUDA_MEM_ALLOC_NODE_PARAMS* out) {
  if (node == nullptr || out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = {};
  out->bytesize = Node(node)->bytes;
  out->dptr = Node(node)->address;
  out->poolProps.location = Node(node)->location;
  return CUDA_SUCCESS;
}

FAKE_CUDA(cuGraphChildGraphNodeGetGraph)(CUgraphNode node, CUgraph* out) {
  if (node == nullptr || out == nullptr || Node(node)->child == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = Node(node)->child;
  return CUDA_SUCCESS;
}

FAKE_CUDA(cuGraphMemFreeNodeGetParams)(CUgraphNode node, CUdeviceptr* out) {
  return node == nullptr || out == nullptr ? CUDA_ERROR_INVALID_VALUE : (*out = Node(node)->address, CUDA_SUCCESS);
}

FAKE_CUDA(cuGraphInstantiate)(CUgraphExec* out, CUgraph graph, CUgraphNode*, char*, size_t) { return Instantiate(out, graph); }
FAKE_CUDA_SAME(cuGraphInstantiate_v2, cuGraphInstantiate);
FAKE_CUDA(cuGraphInstantiateWithFlags)(CUgraphExec* out, CUgraph graph, unsigned long long) { return Instantiate(out, graph); }
FAKE_CUDA(cuGraphInstantiateWithParams)(CUgraphExec* out, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS* parameters) {
  return parameters == nullptr ? CUDA_ERROR_INVALID_VALUE : Instantiate(out, graph);
}
FAKE_CUDA_SAME(cuGraphInstantiateWithParams_ptsz, cuGraphInstantiateWithParams);

FAKE_CUDA(cuGraphExecDestroy)(CUgraphExec exec) {
  return InDriver([&](Driver& driver) { return driver.graph_execs.Remove(exec) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE; });
}

FAKE_CUDA(cuGraphExecUpdate)(CUgraphExec exec, CUgraph graph, CUgraphNode*, CUgraphExecUpdateResult*) { return Update(exec, graph); }
FAKE_CUDA(cuGraphExecUpdate_v2)(CUgraphExec exec, CUgraph graph, CUgraphExecUpdateResultInfo*) { return Update(exec, graph); }

}  // namespace partage::fake_gpu
