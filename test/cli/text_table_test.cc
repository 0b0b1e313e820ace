// SPDX-License-Identifier: Apache-2.0
#include "cli/text_table.h"

#include <catch2/catch.hpp>

namespace partage::cli {
namespace {

TEST_CASE("Columns are as wide as their widest cell, by characters and not by bytes") {
  TextTable table({"NAME", ">N", "REST"});
  table.Add({{"é"}, {"1"}, {"x"}});
  table.Add({{"longer"}, {"100"}, {""}});
  CHECK(table.Render(Painter(false)) == "NAME      N  REST\né         1  x\nlonger  100\n");
}

TEST_CASE("A note stands below its row and widens no column") {
  TextTable table({"A", "B"}, "  ");
  table.Add({{"1"}, {"2"}});
  table.AddNote({"a long remark"});
  CHECK(table.Render(Painter(false)) == "  A  B\n  1  2\n  a long remark\n");
}

TEST_CASE("Colours surround the text and leave the columns alone") {
  TextTable table({"A", "B"});
  table.Add({{"1", Tone::kBad}, {"2"}});
  CHECK(table.Render(Painter(true)) == "\033[2mA\033[0m  \033[2mB\033[0m\n\033[31m1\033[0m  2\n");
}

TEST_CASE("A bar shows anything used and is full only when all is used") {
  CHECK(Bar(0, 100, 4) == "░░░░");
  CHECK(Bar(1, 100, 4) == "█░░░");
  CHECK(Bar(50, 100, 4) == "██░░");
  CHECK(Bar(99, 100, 4) == "███░");
  CHECK(Bar(100, 100, 4) == "████");
  CHECK(Bar(200, 100, 4) == "████");
  CHECK(Bar(0, 0, 4) == "░░░░");
  CHECK(Bar(-5, 100, 4) == "░░░░");
}

TEST_CASE("The tone of a load warns before all is used") {
  CHECK(Load(0, 100) == Tone::kDim);
  CHECK(Load(50, 100) == Tone::kGood);
  CHECK(Load(70, 100) == Tone::kWarn);
  CHECK(Load(90, 100) == Tone::kBad);
}

TEST_CASE("Memory is said in the unit people think in") {
  CHECK(HumanMib(0) == "0 MiB");
  CHECK(HumanMib(1023) == "1023 MiB");
  CHECK(HumanMib(81920) == "80 GiB");
  CHECK(HumanMib(1536) == "1.5 GiB");
  CHECK(HumanMib(-512) == "-512 MiB");
}

TEST_CASE("Control characters from elsewhere do not reach the terminal") { CHECK(Printable("a\033[2Jb\nc") == "a?[2Jb?c"); }

}  // namespace
}  // namespace partage::cli
