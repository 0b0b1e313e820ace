// SPDX-License-Identifier: Apache-2.0
#include "main/setting.h"

#include <catch2/catch.hpp>

namespace partage::app {
namespace {

using namespace std::chrono_literals;

template <class Value>
std::string Complaint(const Form<Value>& form, std::string_view text) {
  const auto parsed = form.parse(text);
  REQUIRE_FALSE(parsed.has_value());
  CHECK(parsed.error().code == Code::kInvalid);
  return parsed.error().message;
}

TEST_CASE("A time is written with its unit") {
  const auto form = DurationForm();
  CHECK(form.parse("15s").value() == 15s);
  CHECK(form.parse("400ms").value() == 400ms);
  CHECK(form.parse("2m").value() == 120s);
  CHECK(form.parse("24h").value() == 24h);
  CHECK(form.print(400ms) == "400ms");
  CHECK(form.print(15s) == "15s");
}

TEST_CASE("A time without unit, of nothing, or of days is refused with the way out") {
  const auto form = DurationForm();
  CHECK(Complaint(form, "15") == "\"15\" is not a time; write it with its unit, like 15s, 400ms or 2m");
  CHECK(Complaint(form, "s") == "\"s\" is not a time; write it with its unit, like 15s, 400ms or 2m");
  for (const char* text : {"0s", "-1s", "25h", "9223372036854775807h"}) {
    CHECK(Complaint(form, text) == "\"" + std::string(text) + "\" is out of range; use more than zero and at most 24h");
  }
}

TEST_CASE("A number keeps its range") {
  const auto form = NumberForm(1, 64);
  CHECK(form.parse("64").value() == 64);
  CHECK(Complaint(form, "65") == "65 is out of range; use 1 to 64");
  CHECK(Complaint(form, "0") == "0 is out of range; use 1 to 64");
  CHECK(Complaint(form, "4k") == "\"4k\" is not a whole number");
  CHECK(Complaint(form, "99999999999999999999") == "\"99999999999999999999\" is not a whole number");
}

TEST_CASE("A word outside its list suggests the nearest") {
  const auto form = WordForm({"text", "json"});
  CHECK(form.parse("json").value() == "json");
  CHECK(Complaint(form, "jason") == "\"jason\" is none of text, json; did you mean json?");
}

TEST_CASE("True and false are the only two") {
  CHECK(BoolForm().parse("true").value());
  CHECK_FALSE(BoolForm().parse("false").value());
  CHECK(Complaint(BoolForm(), "yes") == "\"yes\" is neither true nor false");
}

TEST_CASE("An IPv6 address keeps its brackets") {
  CHECK(EndpointForm().print({"::1", 80}) == "[::1]:80");
  CHECK(EndpointForm().print({"127.0.0.1", 80}) == "127.0.0.1:80");
}

}  // namespace
}  // namespace partage::app
