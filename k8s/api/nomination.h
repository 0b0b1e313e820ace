// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace partage::k8s {

/// The node a waiting pod has been promised: status.nominatedNodeName, a patch of …/pods/{name}/status. The API server refuses (409) when the live pod's UID is
/// not `uid`.
struct Nomination {
  std::string ns, name, uid;
  std::string node;  ///< empty: none any more
};

/// The merge patch.
std::string EncodeNomination(const Nomination& nomination);

}  // namespace partage::k8s
