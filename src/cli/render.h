// SPDX-License-Identifier: Apache-2.0
// What partagectl shows, made from values: pure, so that tests compare it with golden files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/manifest.h"
#include "cli/scheduling_cycle.h"
#include "cli/state_view.h"
#include "cli/text_table.h"

namespace partage::cli {

/// Nodes with their devices: bars for memory and cores, and who holds what.
std::string RenderState(const ClusterState& state, const Painter& painter);

struct Submission {
  ManifestPod pod;
  CycleOutcome outcome;
};

/// A row a pod: what it asked for and which device it got, or why nothing fits. `state` is the cluster after the last one.
std::string RenderSubmissions(const std::vector<Submission>& submissions, const ClusterState& state, const Painter& painter);

/// What GET /debug/explain said, for people. kInvalid when it said something else.
Result<std::string> RenderExplanation(std::string_view body, const Painter& painter);

}  // namespace partage::cli
