// SPDX-License-Identifier: Apache-2.0
#include "k8s/api/event.h"

#include <nlohmann/json.hpp>

namespace partage::k8s {
namespace {

std::string Text(const nlohmann::json& document) { return document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace); }

}  // namespace

std::string EncodeEvent(const Event& event) {
  return Text({
      {"apiVersion", "v1"},
      {"kind", "Event"},
      {"metadata", {{"name", event.name}, {"namespace", event.ns}}},
      {"involvedObject",
       {{"apiVersion", "v1"}, {"kind", "Pod"}, {"namespace", event.ns}, {"name", event.pod_name}, {"uid", event.pod_uid}}},
      {"type", event.type},
      {"reason", event.reason},
      {"action", event.action},
      {"message", event.message},
      {"source", {{"component", event.component}}},
      {"reportingComponent", event.component},
      {"reportingInstance", event.instance},
      {"firstTimestamp", event.first_time},
      {"lastTimestamp", event.last_time},
      {"count", event.count},
  });
}

std::string EncodeEventRepeated(const Event& event) { return Text({{"count", event.count}, {"lastTimestamp", event.last_time}}); }

}  // namespace partage::k8s
