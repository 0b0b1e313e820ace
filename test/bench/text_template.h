// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace partage::bench {

/// The text without line breaks and without the blanks that begin a line: those are for the reader of the source only.
std::string OnOneLine(std::string_view text);

/// A text with named gaps, taken apart once and filled a million times: Template("name: %name%").Fill({{"name", "n1"}}). Immutable, thread-safe.
class Template {
 public:
  /// Put on one line.
  explicit Template(std::string_view text);
  /// Every gap must have a value; aborts on one that has none.
  std::string Fill(std::initializer_list<std::pair<std::string_view, std::string_view>> values) const;

 private:
  struct Piece {
    std::string text, gap;  // the text in front of a gap, and the gap's name; empty after the last gap
  };
  std::vector<Piece> pieces_;
  std::size_t text_size_ = 0;
};

}  // namespace partage::bench
