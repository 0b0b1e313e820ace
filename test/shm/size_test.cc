// SPDX-License-Identifier: Apache-2.0
#include "shm/size.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>

using partage::shm::ParseNumber;
using partage::shm::ParseSize;

namespace {

constexpr std::uint64_t kUntouched = 12345;

std::uint64_t Size(const std::string& text) {
  std::uint64_t bytes = kUntouched;
  INFO(text);
  REQUIRE(ParseSize(text.c_str(), &bytes));
  return bytes;
}

bool IsRefused(const char* text) {
  std::uint64_t bytes = kUntouched;
  return !ParseSize(text, &bytes) && bytes == kUntouched;
}

}  // namespace

TEST_CASE("Sizes are read in HAMi's units, which are powers of 1024") {
  CHECK(Size("3000m") == 3000ull << 20);
  CHECK(Size("8GiB") == 8ull << 30);
  CHECK(Size("8Gi") == 8ull << 30);
  CHECK(Size("8g") == 8ull << 30);
  CHECK(Size("8G") == 8ull << 30);
  CHECK(Size("8gib") == 8ull << 30);
  CHECK(Size("512K") == 512ull << 10);
  CHECK(Size("2t") == 2ull << 40);
  CHECK(Size("1073741824") == 1ull << 30);
  CHECK(Size("1") == 1);
}

TEST_CASE("Zero in any unit is zero, which HAMi means as no limit") {
  for (const char* text : {"0", "0m", "0g", "0.0g", "0KiB"}) CHECK(Size(text) == 0);
}

TEST_CASE("A fraction of a unit is rounded down to a whole byte") {
  CHECK(Size("1.5g") == 3ull << 29);
  CHECK(Size("0.5k") == 512);
  CHECK(Size("1.1g") == 1'181'116'006);  // 1181116006.4
  CHECK(Size("0.001k") == 1);            // 1.024
  CHECK(Size("1.999999999t") == 2'199'023'254'452);
  CHECK(Size("0.000000001t") == 1'099);
}

TEST_CASE("What another reader would take for something else is refused") {
  for (const char* text : {"8gb", "8GB", "8kb", "8b", "8B", "010m", "00", "0x40000000", "1e3m", "1e9", "8,5g", "1_000m"})
    CHECK(IsRefused(text));
}

TEST_CASE("What is no size is refused and leaves the value alone") {
  for (const char* text : {"",    " ",     "m",     "GiB", "-1",  "+8g", "8 g", " 8g",    "8g ", "8g\n",
                           "8gg", "8giB8", "8gi b", ".5g", "8.g", "8.",  "8.5", "1.5.5g", "NaN", "inf"}) {
    INFO(text);
    CHECK(IsRefused(text));
  }
  CHECK(IsRefused(nullptr));
  CHECK(IsRefused("1.0000000001g"));  // more decimals than there are bytes
}

TEST_CASE("Sizes that cannot be are refused instead of wrapping") {
  CHECK(Size("8388607t") == 8'388'607ull << 40);
  for (const char* text :
       {"8388608t", "9223372036854775808", "18446744073709551616", "18446744073709551617g", "99999999999999999999999999999999"})
    CHECK(IsRefused(text));
}

TEST_CASE("Any number in any unit is read as exact arithmetic says") {
  std::mt19937_64 random(3);
  const char* const units[] = {"k", "m", "g", "t"};
  for (int i = 0; i < 20'000; ++i) {
    const unsigned unit = random() % 4;
    const std::uint64_t whole = random() % 100'000;
    const unsigned decimals = 1 + random() % 9;
    std::uint64_t of = 1;
    for (unsigned d = 0; d < decimals; ++d) of *= 10;
    const std::uint64_t part = random() % of;
    std::string digits = std::to_string(part);
    digits.insert(0, decimals - digits.size(), '0');
    __extension__ using Wide = unsigned __int128;
    const Wide exact = ((Wide{whole} * of + part) << (10 * (unit + 1))) / of;
    CHECK(Size(std::to_string(whole) + "." + digits + units[unit]) == static_cast<std::uint64_t>(exact));
  }
}

TEST_CASE("Numbers are whole, plain and within bounds") {
  std::uint64_t number = kUntouched;
  CHECK((ParseNumber("0", 100, &number) && number == 0));
  CHECK((ParseNumber("100", 100, &number) && number == 100));
  for (const char* text : {"101", "", "-1", "+1", " 1", "1 ", "1%", "0x1", "01", "1.0", "99999999999999999999"}) {
    CHECK_FALSE(ParseNumber(text, 100, &number));
    CHECK(number == 100);
  }
}
