// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "k8s/client/config.h"
#include "main/cluster_source.h"

namespace partage::app {

/// A real API server: one reflector for nodes and, once they are known, one for pods, so that no pod's share is looked up on a node nobody has heard of;
/// with `quotas` one for ResourceQuotas, without which nothing is synced. kInvalid when `config` cannot work.
Result<std::unique_ptr<ClusterSource>> MakeKubeSource(k8s::ClientConfig config, bool quotas, Feed feed);

}  // namespace partage::app
