// SPDX-License-Identifier: Apache-2.0
#include "k8s/api/binding.h"

#include <nlohmann/json.hpp>

namespace partage::k8s {

std::string EncodeBinding(const Binding& binding) {
  nlohmann::json document = {
      {"apiVersion", "v1"},
      {"kind", "Binding"},
      {"metadata", {{"name", binding.name}, {"namespace", binding.ns}, {"uid", binding.uid}, {"annotations", binding.annotations}}},
      {"target", {{"apiVersion", "v1"}, {"kind", "Node"}, {"name", binding.node}}},
  };
  if (!binding.labels.empty()) document["metadata"]["labels"] = binding.labels;
  // Names come from the API server, but a binding must never throw: bytes that are no UTF-8 are replaced.
  return document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace partage::k8s
