// SPDX-License-Identifier: Apache-2.0
#include "base/quantity.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>

namespace partage {
namespace {

constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
constexpr auto kMin = std::numeric_limits<std::int64_t>::min();

std::int64_t Value(std::string_view text) {
  const auto value = ParseWholeQuantity(text);
  INFO(text);
  REQUIRE(value.has_value());
  return *value;
}

std::string Refusal(std::string_view text) {
  const auto value = ParseWholeQuantity(text);
  INFO(text);
  REQUIRE_FALSE(value.has_value());
  CHECK(value.error().code == Code::kInvalid);
  return value.error().message;
}

TEST_CASE("Plain numbers and signs are read") {
  CHECK(Value("0") == 0);
  CHECK(Value("3000") == 3000);
  CHECK(Value("+7") == 7);
  CHECK(Value("-7") == -7);
  CHECK(Value("007") == 7);
}

TEST_CASE("Every suffix of Kubernetes has its value") {
  CHECK(Value("3k") == 3000);
  CHECK(Value("8G") == 8'000'000'000);
  CHECK(Value("2T") == 2'000'000'000'000);
  CHECK(Value("1P") == 1'000'000'000'000'000);
  CHECK(Value("1E") == 1'000'000'000'000'000'000);
  CHECK(Value("5M") == 5'000'000);
  CHECK(Value("1Ki") == 1024);
  CHECK(Value("3000Mi") == 3'145'728'000);
  CHECK(Value("16Gi") == 17'179'869'184);
  CHECK(Value("1Ti") == 1'099'511'627'776);
  CHECK(Value("1Pi") == 1'125'899'906'842'624);
  CHECK(Value("7Ei") == 7 * (std::int64_t{1} << 60));
}

TEST_CASE("Small suffixes and exponents that come out whole are read") {
  CHECK(Value("2000m") == 2);
  CHECK(Value("3000000u") == 3);
  CHECK(Value("4000000000n") == 4);
  CHECK(Value("1e3") == 1000);
  CHECK(Value("1E3") == 1000);
  CHECK(Value("1e+3") == 1000);
  CHECK(Value("5000e-3") == 5);
  CHECK(Value("0e99999999999999999999") == 0);
  CHECK(Value("0.000e5") == 0);
}

TEST_CASE("Fractions that a suffix makes whole are read") {
  CHECK(Value("1.5Gi") == 1'610'612'736);
  CHECK(Value("0.5k") == 500);
  CHECK(Value(".5k") == 500);
  CHECK(Value("1.") == 1);
  CHECK(Value("2.000") == 2);
  CHECK(Value("0.00000000000000000086736173798840354720596224069595336914062500000Ei") == 1);
}

TEST_CASE("The limits of int64 are read and nothing beyond them") {
  CHECK(Value("9223372036854775807") == kMax);
  CHECK(Value("-9223372036854775808") == kMin);
  CHECK(Value("9223372036854775807000m") == kMax);
  CHECK(Value("-8Ei") == kMin);
  CHECK(Refusal("9223372036854775808") == "\"9223372036854775808\" does not fit in 64 bits");
  CHECK(Refusal("-9223372036854775809") == "\"-9223372036854775809\" does not fit in 64 bits");
  CHECK(Refusal("8Ei") == "\"8Ei\" does not fit in 64 bits");
  CHECK(Refusal("10E") == "\"10E\" does not fit in 64 bits");
  CHECK(Refusal("1e99999999999999999999") == "\"1e99999999999999999999\" does not fit in 64 bits");
}

TEST_CASE("What is not whole is refused by name") {
  for (const auto* text : {"0.5", "500m", "1u", "1n", "1.1Ki", "1e-1", "1e-99999999999999999999", "0.0000000000000000001Ei"}) {
    CHECK(Refusal(text) == fmt::format("\"{}\" is not a whole number", text));
  }
}

TEST_CASE("What is no quantity is refused by name") {
  for (const auto* text : {"",    "-",  "+",    ".",    "k",     "Gi",  "e3",  "1e",   "1e+",   "1e1.5", "1 ",  " 1",   "1K",  "1ki",
                           "1gi", "1B", "1GiB", "0x10", "1,000", "--1", "+-1", "1..2", "1.2.3", "NaN",   "inf", "1e3k", "1 k", "1mi"}) {
    CHECK(Refusal(text) == fmt::format("\"{}\" is not a Kubernetes quantity", text));
  }
}

TEST_CASE("A long hostile text is cut in the message") {
  CHECK(Refusal(std::string(1'000'000, '9')).size() < 140);
  CHECK(Refusal(std::string(1'000'000, 'x')).size() < 140);
  CHECK(Refusal("1\n\x01").find('\n') == std::string::npos);
  CHECK(Value(std::string(1'000'000, '0') + "12") == 12);
}

TEST_CASE("Every int64 reads back as itself, also scaled by thousands") {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20'000; ++i) {
    const auto value = static_cast<std::int64_t>(random()) >> (random() % 64);
    REQUIRE(Value(std::to_string(value)) == value);
    REQUIRE(Value(std::to_string(value) + "000m") == value);
    REQUIRE(Value(std::to_string(value) + "000000e-6") == value);
    if (std::abs(value % kMax) < kMax / 1024) REQUIRE(Value(std::to_string(value) + "Ki") == value * 1024);
  }
}

TEST_CASE("Random text never does worse than an error") {
  constexpr std::string_view kAlphabet = "0123456789.+-eEinumkKMGTP x";
  std::mt19937_64 random(2);
  for (int i = 0; i < 50'000; ++i) {
    std::string text(random() % 12, ' ');
    for (auto& c : text) c = kAlphabet[random() % kAlphabet.size()];
    const auto value = ParseWholeQuantity(text);
    if (!value) REQUIRE(value.error().code == Code::kInvalid);
  }
}

}  // namespace
}  // namespace partage
