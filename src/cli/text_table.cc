// SPDX-License-Identifier: Apache-2.0
#include "cli/text_table.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>
#include <unistd.h>

#include "base/check.h"

namespace partage::cli {
namespace {

constexpr std::string_view kGap = "  ";

std::string_view Escape(Tone tone) {
  switch (tone) {
    case Tone::kPlain: return "";
    case Tone::kStrong: return "\033[1m";
    case Tone::kDim: return "\033[2m";
    case Tone::kGood: return "\033[32m";
    case Tone::kWarn: return "\033[33m";
    case Tone::kBad: return "\033[31m";
  }
  return "";
}

std::string Repeat(std::string_view text, std::size_t times) {
  std::string repeated;
  for (; times > 0; --times) repeated += text;
  return repeated;
}

void TrimRight(std::string& text) { text.erase(text.find_last_not_of(' ') + 1); }

}  // namespace

std::string Painter::Paint(Tone tone, std::string_view text) const {
  if (!colour_ || tone == Tone::kPlain || text.empty()) return std::string(text);
  return fmt::format("{}{}\033[0m", Escape(tone), text);
}

Painter StdoutPainter() { return Painter(isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr); }

TextTable::TextTable(std::vector<std::string> headings, std::string indent) : indent_(std::move(indent)) {
  for (std::string& heading : headings) {
    right_.push_back(heading.starts_with('>'));
    headings_.push_back({heading.substr(right_.back() ? 1 : 0), Tone::kDim});
  }
}

void TextTable::Add(std::vector<Cell> cells) {
  PARTAGE_CHECK(cells.size() == headings_.size(), "a row has a cell for each heading");
  lines_.push_back({std::move(cells), false});
}

void TextTable::AddNote(Cell note) { lines_.push_back({{std::move(note)}, true}); }

std::string TextTable::Render(const Painter& painter) const {
  const auto widths = Widths();
  std::string text = RenderRow(headings_, widths, painter);
  for (const Line& line : lines_) {
    text += line.note ? indent_ + painter.Paint(line.cells[0].tone, line.cells[0].text) + "\n" : RenderRow(line.cells, widths, painter);
  }
  return text;
}

std::vector<std::size_t> TextTable::Widths() const {
  std::vector<std::size_t> widths;
  for (std::size_t column = 0; column < headings_.size(); ++column) {
    std::size_t width = DisplayWidth(headings_[column].text);
    for (const Line& line : lines_) {
      if (!line.note) width = std::max(width, DisplayWidth(line.cells[column].text));
    }
    widths.push_back(width);
  }
  return widths;
}

std::string TextTable::RenderRow(const std::vector<Cell>& cells, const std::vector<std::size_t>& widths, const Painter& painter) const {
  std::string line = indent_;
  for (std::size_t column = 0; column < cells.size(); ++column) {
    const std::string blanks(widths[column] - DisplayWidth(cells[column].text), ' ');
    const std::string painted = painter.Paint(cells[column].tone, cells[column].text);
    line += right_[column] ? blanks + painted : painted + blanks;
    line += kGap;
  }
  TrimRight(line);
  return line + "\n";
}

std::size_t DisplayWidth(std::string_view text) {
  const auto starts_character = [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; };
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), starts_character));
}

std::string Bar(std::int64_t used, std::int64_t total, std::size_t width) {
  const auto cells = static_cast<std::int64_t>(width);
  std::int64_t full = total > 0 ? std::clamp<std::int64_t>(used * cells / total, 0, cells) : 0;
  if (used > 0 && full == 0) full = 1;
  return Repeat("█", static_cast<std::size_t>(full)) + Repeat("░", width - static_cast<std::size_t>(full));
}

Tone Load(std::int64_t used, std::int64_t total) {
  if (used <= 0) return Tone::kDim;
  if (used * 3 < total * 2) return Tone::kGood;
  return used * 10 < total * 9 ? Tone::kWarn : Tone::kBad;
}

std::string HumanMib(std::int64_t mib) {
  if (mib > -1024 && mib < 1024) return fmt::format("{} MiB", mib);
  if (mib % 1024 == 0) return fmt::format("{} GiB", mib / 1024);
  return fmt::format("{:.1f} GiB", static_cast<double>(mib) / 1024);
}

std::string Printable(std::string_view text) {
  std::string printable(text);
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  std::replace_if(printable.begin(), printable.end(), is_control, '?');
  return printable;
}

}  // namespace partage::cli
