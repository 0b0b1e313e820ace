// SPDX-License-Identifier: Apache-2.0
#include "k8s/api/nomination.h"

#include <nlohmann/json.hpp>

namespace partage::k8s {

std::string EncodeNomination(const Nomination& nomination) {
  const nlohmann::json node = nomination.node.empty() ? nlohmann::json() : nlohmann::json(nomination.node);
  const nlohmann::json patch = {{"metadata", {{"uid", nomination.uid}}}, {"status", {{"nominatedNodeName", node}}}};
  return patch.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace partage::k8s
