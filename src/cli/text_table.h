// SPDX-License-Identifier: Apache-2.0
// Tables and bars for a terminal. Pure, apart from StdoutPainter.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace partage::cli {

enum class Tone { kPlain, kStrong, kDim, kGood, kWarn, kBad };

/// Colours text, or leaves it alone. Immutable.
class Painter {
 public:
  explicit Painter(bool colour) : colour_(colour) {}
  std::string Paint(Tone tone, std::string_view text) const;

 private:
  bool colour_;
};

/// Colours when standard output is a terminal and NO_COLOR is not set.
Painter StdoutPainter();

struct Cell {
  std::string text;
  Tone tone = Tone::kPlain;
};

/// Columns as wide as their widest cell; no trailing blanks. Not thread-safe.
class TextTable {
 public:
  /// A heading that starts with '>' aligns its column to the right. `indent` is put in front of every line.
  explicit TextTable(std::vector<std::string> headings, std::string indent = "");
  /// REQUIRES: as many cells as headings.
  void Add(std::vector<Cell> cells);
  /// A line of its own below the last row, not in columns.
  void AddNote(Cell note);
  /// Ends every line with a newline.
  std::string Render(const Painter& painter) const;

 private:
  struct Line {
    std::vector<Cell> cells;
    bool note = false;
  };
  std::vector<std::size_t> Widths() const;
  std::string RenderRow(const std::vector<Cell>& cells, const std::vector<std::size_t>& widths, const Painter& painter) const;

  std::vector<Cell> headings_;
  std::vector<bool> right_;
  std::string indent_;
  std::vector<Line> lines_;
};

/// How many columns of a terminal the text takes: its UTF-8 characters.
std::size_t DisplayWidth(std::string_view text);

/// "█████░░░░░": the part of `total` that is used. Anything used shows, and only all of it fills the bar.
std::string Bar(std::int64_t used, std::int64_t total, std::size_t width);

/// kGood below two thirds, kWarn below nine tenths, then kBad; kDim when nothing is used.
Tone Load(std::int64_t used, std::int64_t total);

/// "512 MiB", "1.5 GiB", "80 GiB".
std::string HumanMib(std::int64_t mib);

/// What came from elsewhere, fit for a terminal: control characters become '?'.
std::string Printable(std::string_view text);

}  // namespace partage::cli
