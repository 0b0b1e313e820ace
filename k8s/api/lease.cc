// SPDX-License-Identifier: Apache-2.0
#include "k8s/api/lease.h"

#include <tuple>

#include <fmt/chrono.h>
#include <nlohmann/json.hpp>

namespace partage::k8s {
namespace {

using nlohmann::json;

std::string TextOf(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::int64_t NumberOf(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

// The member as an object, whatever it was.
json& ObjectAt(json& parent, const char* key) {
  json& member = parent[key];
  if (!member.is_object()) member = json::object();
  return member;
}

auto RecordOf(const Lease& lease) {
  return std::tie(lease.holder, lease.duration, lease.acquire_time, lease.renew_time, lease.transitions);
}

}  // namespace

bool Lease::SameRecord(const Lease& other) const { return RecordOf(*this) == RecordOf(other); }

std::string EncodeLease(const std::string& ns, const std::string& name, const Lease& lease) {
  json document = json::parse(lease.document, nullptr, false);
  if (!document.is_object()) document = json::object();
  document["apiVersion"] = "coordination.k8s.io/v1";
  document["kind"] = "Lease";
  json& metadata = ObjectAt(document, "metadata");
  metadata["namespace"] = ns;
  metadata["name"] = name;
  if (!lease.resource_version.empty()) metadata["resourceVersion"] = lease.resource_version;
  json& spec = ObjectAt(document, "spec");
  spec["holderIdentity"] = lease.holder;
  spec["leaseDurationSeconds"] = lease.duration.count();
  spec["acquireTime"] = lease.acquire_time;
  spec["renewTime"] = lease.renew_time;
  spec["leaseTransitions"] = lease.transitions;
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<Lease> DecodeLease(std::string_view text) {
  const json document = json::parse(text, nullptr, false);
  if (!document.is_object() || !document.contains("metadata") || !document["metadata"].is_object()) {
    return Fail(Code::kInvalid, "the answer is no Lease");
  }
  const json spec = document.value("spec", json::object());
  if (!spec.is_object()) return Fail(Code::kInvalid, "the Lease's spec is no object");
  return Lease{.resource_version = TextOf(document["metadata"], "resourceVersion"),
               .holder = TextOf(spec, "holderIdentity"),
               .duration = std::chrono::seconds(NumberOf(spec, "leaseDurationSeconds")),
               .acquire_time = TextOf(spec, "acquireTime"),
               .renew_time = TextOf(spec, "renewTime"),
               .transitions = NumberOf(spec, "leaseTransitions"),
               .document = std::string(text)};
}

std::string MicroTime(Clock::Wall time) {
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06}Z", fmt::gmtime(static_cast<std::time_t>(micros / 1'000'000)), micros % 1'000'000);
}

}  // namespace partage::k8s
