// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace partage::cli {

/// A pod as kube-scheduler would send it.
struct ManifestPod {
  std::string ns, name, uid;
  std::string asked;  ///< for people, see asked.h
  std::string json;   ///< the Pod document
};

/// Reads pod manifests (YAML, any number of documents). A pod without UID is given a random one, a pod without namespace is in "default".
/// With `repeat` above one, each pod becomes that many, named NAME-1 to NAME-n, with UIDs of their own.
/// kInvalid reads `file: document n: what is wrong`: not YAML within the bounds of base/yaml.h, another kind than Pod, no name.
Result<std::vector<ManifestPod>> ParseManifests(std::string_view yaml, const std::string& file, int repeat = 1);

}  // namespace partage::cli
