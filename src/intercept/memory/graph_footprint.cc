// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/graph_footprint.h"

#include "intercept/memory/ledger.h"
#include "intercept/memory/pages.h"

namespace partage::intercept::memory {
namespace {

constexpr int kDeepest = 8;  // graphs within graphs

/// Pages for `count` objects, given back with the object; null when there are none.
template <class T>
class Pages {
 public:
  explicit Pages(std::size_t count) {
    while (bytes_ < count * sizeof(T)) bytes_ *= 2;
    at_ = static_cast<T*>(TakePages(bytes_));
  }
  ~Pages() {
    if (at_ != nullptr) GivePages(at_, bytes_);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  T* get() const { return at_; }

 private:
  std::size_t bytes_ = kSmallPage;
  T* at_ = nullptr;
};

bool Is(CUgraphNode node, CUgraphNodeType wanted) {
  CUgraphNodeType type{};
  return CallReal<Row::cuGraphNodeGetType>(node, &type) == CUDA_SUCCESS && type == wanted;
}

/// The allocation that a node makes on a limited device. False: it makes none there.
bool AllocatedBy(CUgraphNode node, Range* range) {
  if (!Is(node, CU_GRAPH_NODE_TYPE_MEM_ALLOC)) return false;
  CUDA_MEM_ALLOC_NODE_PARAMS allocation{};
  if (CallReal<Row::cuGraphMemAllocNodeGetParams>(node, &allocation) != CUDA_SUCCESS) return false;
  if (allocation.poolProps.location.type != CU_MEM_LOCATION_TYPE_DEVICE) return false;
  const int index = On(allocation.poolProps.location.id).device;
  if (index < 0) return false;
  *range = {allocation.dptr, allocation.dptr + allocation.bytesize, static_cast<unsigned>(index)};
  return true;
}

/// Adds what is in one graph.
bool Add(CUgraph graph, GraphFootprint* footprint, int depth);

bool AddNodes(const CUgraphNode* nodes, std::size_t count, GraphFootprint* footprint, int depth) {
  const Pages<Range> ranges(count);
  if (ranges.get() == nullptr) return false;
  std::size_t found = 0;
  bool any = false;
  for (std::size_t i = 0; i < count; ++i) {
    CUgraph child = nullptr;
    if (AllocatedBy(nodes[i], &ranges.get()[found])) ++found;
    if (depth == kDeepest || !Is(nodes[i], CU_GRAPH_NODE_TYPE_GRAPH)) continue;
    if (CallReal<Row::cuGraphChildGraphNodeGetGraph>(nodes[i], &child) == CUDA_SUCCESS) any = Add(child, footprint, depth + 1) || any;
  }
  AddCovered(ranges.get(), found, footprint);
  return any || found > 0;
}

bool Add(CUgraph graph, GraphFootprint* footprint, int depth) {
  std::size_t count = 0;
  if (CallReal<Row::cuGraphGetNodes>(graph, static_cast<CUgraphNode*>(nullptr), &count) != CUDA_SUCCESS || count == 0) return false;
  const Pages<CUgraphNode> nodes(count);
  return nodes.get() != nullptr && CallReal<Row::cuGraphGetNodes>(graph, nodes.get(), &count) == CUDA_SUCCESS &&
         AddNodes(nodes.get(), count, footprint, depth);
}

}  // namespace

bool FootprintOf(CUgraph graph, GraphFootprint* footprint) {
  *footprint = {};
  return Add(graph, footprint, 0);
}

}  // namespace partage::intercept::memory
