// SPDX-License-Identifier: Apache-2.0
// The scheduler's /debug/state as values. Format: docs/http-api.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace partage::cli {

struct Capacity {
  std::int64_t total = 0, used = 0;
};

struct DeviceState {
  std::string uuid, model, mode;
  int index = 0, numa = 0;
  bool healthy = true, cordoned = false;
  Capacity slots, mib, cores;
};

/// What a pod holds of one device.
struct ShareState {
  std::string uuid;
  std::int64_t mib = 0, cores = 0;
  bool exclusive = false;
};

struct PodState {
  std::string ns, name, uid;
  std::string state;  ///< "nominal", "reserved", "bound"
  std::vector<ShareState> shares;
  std::string allocation_error;
};

struct NodeState {
  std::string name, quarantine;
  std::vector<DeviceState> devices;
  std::vector<PodState> pods;
};

/// A pod that its last filter refused everywhere.
struct WaitingPod {
  std::string ns, name, reason;
};

struct ClusterState {
  std::vector<NodeState> nodes;
  std::vector<WaitingPod> waiting;
};

/// kInvalid when the text is not a state document.
Result<ClusterState> ParseState(std::string_view json);

}  // namespace partage::cli
