// SPDX-License-Identifier: Apache-2.0

#include "metrics/collectors/family.h"

#include <catch2/catch.hpp>

namespace partage::metrics {
namespace {

TEST_CASE("A family carries its desc and the samples added") {
  const Desc desc{Desc::Type::kGauge, "test_level", "Level.", {"node", "tank"}, {}};
  Family family(desc);
  family.AddGauge(3, {"n1", "a"});
  family.AddGauge(4, {"n1", "b"});
  const auto taken = family.Take();
  CHECK(taken.name == "test_level");
  CHECK(taken.type == prometheus::MetricType::Gauge);
  REQUIRE(taken.metric.size() == 2);
  CHECK(taken.metric[1].gauge.value == 4);
  CHECK(taken.metric[1].label[1] == prometheus::ClientMetric::Label{"tank", "b"});
}

TEST_CASE("A summary has count and sum") {
  const Desc desc{Desc::Type::kSummary, "test_shares", "Shares.", {}, {}};
  Family family(desc);
  family.AddSummary(3, 4096);
  const auto taken = family.Take();
  CHECK(taken.metric[0].summary.sample_count == 3);
  CHECK(taken.metric[0].summary.sample_sum == 4096);
}

TEST_CASE("Label values that are UTF-8 stay as they are") {
  for (const std::string text : {"", "NVIDIA A100-SXM4-80GB", "größer", "图形处理器", "\xF0\x9F\x8E\xAE", "a\"b\\c\nd"})
    CHECK(LabelValue(text) == text);
}

TEST_CASE("Bytes that are not UTF-8 are replaced one by one") {
  CHECK(LabelValue("a\xff\xfe z") == "a?? z");
  CHECK(LabelValue("\xc3") == "?");  // cut off
  CHECK(LabelValue("\xe5\x9b") == "??");
  CHECK(LabelValue("\xc0\xaf") == "??");  // overlong
  CHECK(LabelValue("\xe0\x80\xaf") == "???");
  CHECK(LabelValue("\xed\xa0\x80") == "???");       // surrogate
  CHECK(LabelValue("\xf4\x90\x80\x80") == "????");  // past the last code point
}

TEST_CASE("A long label value is cut, never inside a character") {
  CHECK(LabelValue(std::string(10'000, 'x')).size() <= 256);
  const auto cut = LabelValue([] {
    std::string text;
    while (text.size() < 1000) text += "图";
    return text;
  }());
  CHECK(cut.size() <= 256);
  CHECK(cut.size() % 3 == 0);
}

}  // namespace
}  // namespace partage::metrics
