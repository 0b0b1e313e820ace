// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/json_text.h"

#include <random>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace partage::scheduler {
namespace {

std::string Quoted(std::string_view text) {
  std::string out;
  AppendJsonString(out, text);
  return out;
}

TEST_CASE("Plain text is quoted as it is") {
  CHECK(Quoted("") == R"("")");
  CHECK(Quoted("gpu-1.example.com") == R"("gpu-1.example.com")");
  CHECK(Quoted("node über") == R"("node über")");
}

TEST_CASE("Quotes, backslashes and control characters are escaped at every place of a word") {
  for (std::size_t place = 0; place < 17; ++place) {
    for (const char c : {'"', '\\', '\n', '\0', '\x1f'}) {
      std::string text(17, 'x');
      text[place] = c;
      CHECK(nlohmann::json::parse(Quoted(text)).get<std::string>() == text);
    }
  }
  CHECK(Quoted("a\tb") == R"("a\u0009b")");
}

TEST_CASE("Text that is not UTF-8 still makes valid JSON") {
  CHECK(Quoted("ab\xff") == "\"ab\xEF\xBF\xBD\"");
  CHECK(Quoted("cut \xc3") == "\"cut \xEF\xBF\xBD\"");
}

TEST_CASE("Whatever the bytes, the result parses, and equals the text where that is UTF-8") {
  std::mt19937 random(11);
  for (int round = 0; round < 3000; ++round) {
    std::string text(random() % 40, ' ');
    const unsigned range = round % 2 == 0 ? 128 : 256;
    for (char& c : text) c = static_cast<char>(random() % range);
    const auto parsed = nlohmann::json::parse(Quoted(text), nullptr, false);
    REQUIRE(parsed.is_string());
    if (range == 128) CHECK(parsed.get<std::string>() == text);
  }
}

}  // namespace
}  // namespace partage::scheduler
