// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <catch2/catch.hpp>

namespace partage {
namespace {

Result<int> Half(int value) {
  if (value % 2 != 0) return Fail(Code::kInvalid, "{} is odd", value);
  return value / 2;
}

TEST_CASE("A result carries a value or an error that names the value") {
  CHECK(Half(4).value() == 2);
  REQUIRE_FALSE(Half(3).has_value());
  CHECK(Half(3).error().code == Code::kInvalid);
  CHECK(Half(3).error().message == "3 is odd");
}

TEST_CASE("Context is put in front of an error on the way up") {
  const Error error{Code::kConflict, "409"};
  CHECK(error.In("bind pod a/b").message == "bind pod a/b: 409");
  CHECK(error.In("bind pod a/b").code == Code::kConflict);
}

}  // namespace
}  // namespace partage
