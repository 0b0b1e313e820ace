// SPDX-License-Identifier: Apache-2.0
// The words of the Kubernetes API that the fake server's files share.
#pragma once

#include <charconv>
#include <map>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "base/result.h"
#include "test/support/fake_store.h"

namespace partage::test {

struct KindWords {
  std::string_view plural, kind, list, type_meta;
};

constexpr KindWords WordsOf(Kind kind) {
  switch (kind) {
    case Kind::kNodes: return {"nodes", "Node", "NodeList", R"("kind":"Node","apiVersion":"v1",)"};
    case Kind::kPods: break;
    case Kind::kQuotas: return {"resourcequotas", "ResourceQuota", "ResourceQuotaList", R"("kind":"ResourceQuota","apiVersion":"v1",)"};
  }
  return {"pods", "Pod", "PodList", R"("kind":"Pod","apiVersion":"v1",)"};
}

/// A failure as the API server words it.
inline std::string StatusBody(int code, std::string_view message) {
  const auto reason = [&]() -> std::string_view {
    switch (code) {
      case 401: return "Unauthorized";
      case 404: return "NotFound";
      case 409: return message.ends_with("already exists") ? "AlreadyExists" : "Conflict";
      case 410: return "Expired";
      case 415: return "UnsupportedMediaType";
      case 422: return "Invalid";
      case 429: return "TooManyRequests";
      case 503: return "ServiceUnavailable";
      case 504: return "Timeout";
      default: return code < 500 ? "BadRequest" : "InternalError";
    }
  }();
  return nlohmann::json{{"kind", "Status"},    {"apiVersion", "v1"}, {"metadata", nlohmann::json::object()},
                        {"status", "Failure"}, {"message", message}, {"reason", reason},
                        {"code", code}}
      .dump();
}

inline std::string QueryOf(const std::map<std::string, std::string>& query, const std::string& name) {
  const auto found = query.find(name);
  return found == query.end() ? std::string() : found->second;
}

/// 0 when it is no number.
inline std::uint64_t NumberOf(const std::string& text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// Of a LIST or WATCH in namespace `ns` (empty: all). The two phases are excluded together, as the scheduler does.
inline Selector SelectorOf(const std::map<std::string, std::string>& query, const std::string& ns) {
  Selector selector{.ns = ns, .name = {}, .node = {}};
  const auto field = QueryOf(query, "fieldSelector");
  if (field.starts_with("spec.nodeName=")) selector.node = field.substr(14);
  if (field.starts_with("metadata.name=")) selector.name = field.substr(14);
  selector.unfinished = field == "status.phase!=Succeeded,status.phase!=Failed";
  return selector;
}

inline int HttpStatus(Code code) {
  switch (code) {
    case Code::kNotFound: return 404;
    case Code::kConflict: return 409;
    case Code::kInvalid: return 422;
    default: return 500;
  }
}

/// The preconditions that a Binding, a patch or the options of a deletion may carry in `metadata`.
inline Result<> CheckPreconditions(const nlohmann::json& live, const nlohmann::json& metadata) {
  for (const auto* member : {"uid", "resourceVersion"}) {
    if (!metadata.contains(member) || metadata[member] == "") continue;
    if (metadata[member] != live["metadata"][member]) {
      return Fail(Code::kConflict, "Precondition failed: {} in precondition: {}, in object meta: {}", member, metadata[member].dump(),
                  live["metadata"][member].dump());
    }
  }
  return {};
}

inline bool IsTrue(const std::string& value) { return value == "true" || value == "1"; }

}  // namespace partage::test
