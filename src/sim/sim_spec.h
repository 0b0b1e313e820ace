// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "k8s/api/node.h"
#include "k8s/api/pod.h"

namespace partage::sim {

/// A cluster as its description says: the objects an API server would serve.
struct SimSpec {
  std::vector<k8s::Node> nodes;
  std::vector<k8s::Pod> pods;  ///< bound, with their allocation
};

/// Reads a cluster description (YAML). An example that uses everything: docs/examples/demo-cluster.yaml.
///
///   nodes:
///     - name: a100-#             # each run of # becomes the node's number, as many digits wide
///       count: 2                 # nodes like this; 1 when absent
///       annotations: {a/b: c}    # as they are, e.g. HAMi's own; wins over `devices`
///       devices:                 # published as partage.dev/inventory; UUIDs are GPU-<node>-<index>
///         - model: NVIDIA A100-SXM4-80GB
///           vendor: nvidia       # the default, like every value below but memoryMiB
///           count: 1
///           memoryMiB: 81920
///           cores: 100
///           slots: 10
///           numa: [0, 1]         # one number for all, or a list the devices are dealt into, in equal runs
///           mode: shared
///           healthy: true
///           nvlinks: 0           # NVLinks between any two devices of this entry
///   pods:
///     - pod: namespace/name
///       node: a100-1
///       shares: [{device: 0, memoryMiB: 8192, cores: 10}]   # of one container, "main"
///
/// Link scores follow docs/protocol.md: 10 across NUMA nodes, 30 within one, and 100 for each NVLink.
/// kInvalid reads `file:line: member: what is wrong`: not YAML, unknown member, wrong type or range, two nodes or pods of one name, a share of an unknown
/// device.
Result<SimSpec> ParseSimSpec(std::string_view yaml, const std::string& file);

}  // namespace partage::sim
