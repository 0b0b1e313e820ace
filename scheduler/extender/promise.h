// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace partage::scheduler {

/// On a waiting pod: the node on which others have been evicted for it. Says what status.nominatedNodeName says, which kube-scheduler takes away whenever its
/// extender does not answer, as in a fail-over.
inline constexpr std::string_view kPromiseAnnotation = "partage.dev/promised-node";

}  // namespace partage::scheduler
