// SPDX-License-Identifier: Apache-2.0
#include "test/bench/text_template.h"

#include <algorithm>

#include "base/check.h"

namespace partage::bench {
std::string OnOneLine(std::string_view text) {
  std::string line;
  bool at_start = true;
  for (const char c : text) {
    if (c == '\n') at_start = true;
    if (c == '\n' || (at_start && c == ' ')) continue;
    at_start = false;
    line += c;
  }
  return line;
}

Template::Template(std::string_view text) {
  const std::string line = OnOneLine(text);
  for (std::size_t at = 0; at <= line.size();) {
    const auto open = std::min(line.find('%', at), line.size());
    const auto close = std::min(line.find('%', open + 1), line.size());
    pieces_.push_back({line.substr(at, open - at), open == line.size() ? "" : line.substr(open + 1, close - open - 1)});
    text_size_ += pieces_.back().text.size();
    at = close + 1;
  }
}

std::string Template::Fill(std::initializer_list<std::pair<std::string_view, std::string_view>> values) const {
  std::string out;
  std::size_t size = text_size_;
  for (const auto& [gap, value] : values) size += value.size();
  out.reserve(size);
  for (const Piece& piece : pieces_) {
    out += piece.text;
    if (piece.gap.empty()) continue;
    const auto* found = std::find_if(values.begin(), values.end(), [&](const auto& value) { return value.first == piece.gap; });
    PARTAGE_CHECK(found != values.end(), "every gap of a template has a value");
    out += found->second;
  }
  return out;
}

}  // namespace partage::bench
