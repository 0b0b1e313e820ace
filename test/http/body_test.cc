// SPDX-License-Identifier: Apache-2.0

#include "http/body.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>

#include "http/server.h"

namespace partage::http {
namespace {

bool PaddingIsZero(const Body& body) {
  const char* end = body.view().data() + body.size();
  return std::all_of(end, end + kBodyPadding, [](char c) { return c == 0; });
}

TEST_CASE("A body has its exact size and zeroed padding behind it") {
  Body body;
  body.Reset(5);
  std::memcpy(body.data(), "abcde", 5);
  body.Seal();
  CHECK(body.view() == "abcde");
  CHECK(PaddingIsZero(body));
}

TEST_CASE("An empty body has padding too") {
  Body body;
  body.Seal();
  CHECK(body.view().empty());
  CHECK(PaddingIsZero(body));
}

TEST_CASE("Bytes appended in any pieces end up in order") {
  Body body;
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    const std::string piece(static_cast<std::size_t>(i % 37), static_cast<char>('a' + i % 26));
    body.Append(piece);
    expected += piece;
  }
  body.Seal();
  CHECK(body.view() == expected);
  CHECK(PaddingIsZero(body));
}

TEST_CASE("A smaller body reuses the memory of a larger one and forgets its bytes") {
  Body body;
  body.Append("long ago");
  const char* before = body.data();
  body.Reset(0);
  body.Append("now");
  CHECK(body.view() == "now");
  CHECK(body.data() == before);
}

TEST_CASE("A moved body keeps its bytes where they were and leaves an empty one") {
  Body body;
  body.Append("abc");
  const char* before = body.data();
  Body moved = std::move(body);
  CHECK(moved.data() == before);
  body.Append("new life");
  CHECK(body.view() == "new life");
}

TEST_CASE("The pool hands memory on, but never that of a huge body") {
  BodyPool pool;
  Body small, huge;
  small.Append("abc");
  huge.Reset(64u << 20);
  const char* before = small.data();
  pool.Give(std::move(small));
  pool.Give(std::move(huge));
  Body taken = pool.Take();
  CHECK(taken.data() == before);
  CHECK(taken.view().empty());
  CHECK(pool.Take().capacity() == 0);
}

}  // namespace
}  // namespace partage::http
