// SPDX-License-Identifier: Apache-2.0
// Memory owned by graphs. An allocation node takes nothing when it is added; the driver reserves memory for it at the first launch and shares it
// among graphs. So a node is refused when it alone could not fit, and a launch when its graph's nodes together do not (reserve.h).
#include "intercept/hook.h"
#include "intercept/memory/ledger.h"
#include "intercept/memory/reserve.h"

namespace partage::intercept {
namespace {

using namespace memory;

/// Whether a node that allocates may be added.
bool Admitted(const CUDA_MEM_ALLOC_NODE_PARAMS& node) {
  const CUmemLocation& location = node.poolProps.location;
  if (location.type != CU_MEM_LOCATION_TYPE_DEVICE) return true;
  const int device = On(location.id).device;
  if (device < 0) return true;
  NoteGraphMemory(device, location.id);
  return GraphMemoryFits(device, node.bytesize);
}

bool Admitted(const CUgraphNodeParams& node) { return node.type != CU_GRAPH_NODE_TYPE_MEM_ALLOC || Admitted(node.alloc); }

}  // namespace

PARTAGE_HOOK(CUresult, cuGraphAddMemAllocNode,
             (CUgraphNode * ph_graph_node, CUgraph graph, const CUgraphNode* dependencies, size_t num_dependencies,
              CUDA_MEM_ALLOC_NODE_PARAMS* node_params)) {
  const Entered entered;
  if (entered && node_params != nullptr && !Admitted(*node_params)) return CUDA_ERROR_OUT_OF_MEMORY;
  return Real(ph_graph_node, graph, dependencies, num_dependencies, node_params);
}

PARTAGE_HOOK(CUresult, cuGraphAddNode,
             (CUgraphNode * ph_graph_node, CUgraph graph, const CUgraphNode* dependencies, size_t num_dependencies,
              CUgraphNodeParams* node_params)) {
  const Entered entered;
  if (entered && node_params != nullptr && !Admitted(*node_params)) return CUDA_ERROR_OUT_OF_MEMORY;
  return Real(ph_graph_node, graph, dependencies, num_dependencies, node_params);
}
PARTAGE_HOOK(CUresult, cuGraphAddNode_v2,
             (CUgraphNode * ph_graph_node, CUgraph graph, const CUgraphNode* dependencies, const CUgraphEdgeData* dependency_data,
              size_t num_dependencies, CUgraphNodeParams* node_params)) {
  const Entered entered;
  if (entered && node_params != nullptr && !Admitted(*node_params)) return CUDA_ERROR_OUT_OF_MEMORY;
  return Real(ph_graph_node, graph, dependencies, dependency_data, num_dependencies, node_params);
}
PARTAGE_HOOK(CUresult, cuGraphAddNode_v3,
             (CUgraphNode * ph_graph_node, CUgraph graph, const CUgraphNode* dependencies, const CUgraphEdgeData* dependency_data,
              size_t num_dependencies, CUgraphNodeParams* node_params)) {
  const Entered entered;
  if (entered && node_params != nullptr && !Admitted(*node_params)) return CUDA_ERROR_OUT_OF_MEMORY;
  return Real(ph_graph_node, graph, dependencies, dependency_data, num_dependencies, node_params);
}

PARTAGE_HOOK(CUresult, cuDeviceGraphMemTrim, (CUdevice device)) {
  const Entered entered;
  const CUresult result = Real(device);
  if (entered) SettleGraphMemory();
  return result;
}

}  // namespace partage::intercept
