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

std::uint64_t Load(const char* bytes, std::size_t size) {
  std::uint64_t word = kOnes * ' ';
  std::memcpy(&word, bytes, size);
  return word;
}

bool IsPlain(std::string_view text) {
  constexpr std::size_t kWord = sizeof(std::uint64_t);
  if (text.size() < kWord) return !NeedsCare(Load(text.data(), text.size()));
  for (std::size_t at = 0; at + kWord <= text.size(); at += kWord) {
    if (NeedsCare(Load(text.data() + at, kWord))) return false;
  }
  return !NeedsCare(Load(text.data() + text.size() - kWord, kWord));
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
