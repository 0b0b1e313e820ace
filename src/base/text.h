// SPDX-License-Identifier: Apache-2.0
// Small helpers for text that strangers wrote. Pure functions, thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace partage {

/// Without ASCII white space at both ends.
inline std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\f\v";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

/// The parts between separators, empty ones too: Split("a,,b", ',') is {"a", "", "b"}, Split("", ',') is {""}.
inline std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t end = text.find(separator); end != std::string_view::npos; end = text.find(separator)) {
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  parts.push_back(text);
  return parts;
}

/// The trimmed, non-empty members of a comma list: SplitList(" a, ,b ") is {"a", "b"}.
inline std::vector<std::string> SplitList(std::string_view text) {
  std::vector<std::string> members;
  for (const auto part : Split(text, ',')) {
    if (const auto member = Trim(part); !member.empty()) members.emplace_back(member);
  }
  return members;
}

/// The text as it may stand in an error message: in double quotes, control characters as '?', cut after 80 bytes (never inside a UTF-8 character).
inline std::string Quoted(std::string_view text) {
  constexpr std::size_t kMost = 80;
  std::size_t length = text.size() > kMost ? kMost : text.size();
  while (length < text.size() && length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0U) == 0x80U) --length;
  std::string quoted = "\"";
  for (const char c : text.substr(0, length)) quoted += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
  return quoted + (length < text.size() ? "…\"" : "\"");
}

}  // namespace partage
