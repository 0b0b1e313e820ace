// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/http.h"
#include "cli/manifest.h"

namespace partage::cli {

/// How a scheduling cycle ended.
struct CycleOutcome {
  std::string node;                                          ///< where the pod was bound; empty: nowhere
  std::map<std::string, std::vector<std::string>> refusals;  ///< reason → nodes, when nothing fits
  std::string error;                                         ///< what the extender said is wrong with the pod, or with the bind
};

/// Does for one pod what kube-scheduler does with an extender: POST /filter with all candidates, /prioritize when more than one is left, /bind to the best.
/// An Error means that the extender did not speak the protocol or could not be reached.
Result<CycleOutcome> Schedule(HttpClient& extender, const ManifestPod& pod, const std::vector<std::string>& candidates);

}  // namespace partage::cli
