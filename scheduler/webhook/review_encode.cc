// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "scheduler/extender/json_text.h"
#include "scheduler/webhook/review.h"

namespace partage::scheduler {
namespace {

// The API server passes on so many bytes of a warning, and so many of all together.
constexpr std::size_t kMaxWarning = 256;
constexpr std::size_t kMaxWarnings = 4096;

std::string Base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t given = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < 3; ++i) group = group << 8 | (i < given ? static_cast<unsigned char>(bytes[at + i]) : 0);
    for (std::size_t i = 0; i < 4; ++i) text += i <= given ? kDigits[group >> (18 - 6 * i) & 63] : '=';
  }
  return text;
}

std::string Cut(std::string_view warning) {
  if (warning.size() <= kMaxWarning) return std::string(warning);
  std::size_t end = kMaxWarning - 3;
  while (end > 0 && (static_cast<unsigned char>(warning[end]) & 0xC0U) == 0x80U) --end;
  return std::string(warning.substr(0, end)) + "...";
}

std::string EncodeWarnings(const std::vector<std::string>& warnings) {
  std::string json;
  std::size_t told = 0;
  for (const auto& warning : warnings) {
    const auto cut = Cut(warning);
    told += cut.size();
    if (told > kMaxWarnings) break;
    json += json.empty() ? "" : ",";
    AppendJsonString(json, cut);
  }
  return json;
}

}  // namespace

std::string PathPart(std::string_view name) {
  std::string part;
  for (const char c : name) part += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return part;
}

std::string EncodePatch(const std::vector<PatchStep>& steps) {
  std::string json = "[";
  for (const auto& step : steps) {
    json += json.size() > 1 ? R"(,{"op":"add","path":)" : R"({"op":"add","path":)";
    AppendJsonString(json, step.path);
    json += R"(,"value":)" + step.value + "}";
  }
  return json + "]";
}

std::string EncodeVerdict(std::string_view uid, const Verdict& verdict) {
  std::string json = R"({"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":)";
  AppendJsonString(json, uid);
  json += verdict.allowed ? R"(,"allowed":true)" : R"(,"allowed":false,"status":{"code":400,"reason":"BadRequest","message":)";
  if (!verdict.allowed) {
    AppendJsonString(json, verdict.message);
    json += '}';
  } else if (!verdict.patch.empty()) {
    json += R"(,"patchType":"JSONPatch","patch":")" + Base64(EncodePatch(verdict.patch)) + '"';
  }
  if (!verdict.warnings.empty()) json += R"(,"warnings":[)" + EncodeWarnings(verdict.warnings) + ']';
  return json + "}}";
}

}  // namespace partage::scheduler
