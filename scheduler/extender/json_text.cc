// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/json_text.h"

#include <cstdint>
#include <cstring>

#include <fmt/format.h>
#include <simdjson.h>

namespace partage::scheduler {
namespace {

constexpr std::uint64_t kOnes = 0x0101010101010101u;
constexpr std::uint64_t kHighBits = 0x8080808080808080u;

// High bit of some byte set where `word` holds a zero byte, none set where it holds none.
constexpr std::uint64_t ZeroBytes(std::uint64_t word) { return (word - kOnes) & ~word & kHighBits; }

// Eight bytes at a time: replies carry thousands of node names, of which hardly one ever needs an escape.
bool NeedsCare(std::uint64_t word) {
  const std::uint64_t control = (word - kOnes * 0x20) & ~word;
  return ((control | word) & kHighBits) != 0 || ZeroBytes(word ^ (kOnes * '"')) != 0 || ZeroBytes(word ^ (kOnes * '\\')) != 0;
}

bool IsPlain(std::string_view text) {
  std::uint64_t word = 0;
  while (text.size() >= sizeof word) {
    std::memcpy(&word, text.data(), sizeof word);
    if (NeedsCare(word)) return false;
    text.remove_prefix(sizeof word);
  }
  word = kOnes * ' ';
  if (!text.empty()) std::memcpy(&word, text.data(), text.size());
  return !NeedsCare(word);
}

void AppendEscaped(std::string& out, std::string_view text) {
  const bool utf8 = simdjson::validate_utf8(text.data(), text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", byte);
    } else if (byte >= 0x80 && !utf8) {
      out += "\xEF\xBF\xBD";
    } else {
      out += c;
    }
  }
}

}  // namespace

void AppendJsonString(std::string& out, std::string_view text) {
  out += '"';
  if (IsPlain(text)) {
    out += text;
  } else {
    AppendEscaped(out, text);
  }
  out += '"';
}

}  // namespace partage::scheduler
