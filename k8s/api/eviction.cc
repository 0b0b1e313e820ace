// SPDX-License-Identifier: Apache-2.0
#include "k8s/api/eviction.h"

#include <nlohmann/json.hpp>

namespace partage::k8s {

std::string EncodeEviction(const Eviction& eviction) {
  nlohmann::json document = {
      {"apiVersion", "policy/v1"},
      {"kind", "Eviction"},
      {"metadata", {{"name", eviction.name}, {"namespace", eviction.ns}}},
      {"deleteOptions", {{"preconditions", {{"uid", eviction.uid}}}}},
  };
  if (eviction.dry_run) document["deleteOptions"]["dryRun"] = {"All"};
  return document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace partage::k8s
