// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "k8s/informer/backoff.h"
#include "k8s/informer/frame_reader.h"
#include "k8s/informer/list_page.h"
#include "test/support/manual_clock.h"

namespace partage::k8s {
namespace {

using namespace std::chrono_literals;

TEST_CASE("Delays double from the first to the longest, jittered up to twice, and start again after two healthy minutes") {
  test::ManualClock clock;
  Backoff backoff(800ms, 30s, clock, 1);
  for (const auto base : {800ms, 1600ms, 3200ms, 6400ms, 12800ms, 25600ms, 30000ms, 30000ms}) {
    const auto delay = backoff.Next();
    CHECK(delay >= base);
    CHECK(delay < 2 * base);
    clock.Advance(delay);
  }
  clock.Advance(121s);
  CHECK(backoff.Next() < 1600ms);
}

std::vector<std::string> TypesOf(std::string_view text, std::size_t piece) {
  FrameReader reader;
  std::vector<std::string> types;
  for (std::size_t at = 0; at < text.size(); at += piece) {
    REQUIRE(reader.Feed(text.substr(at, piece), [&](const Frame& frame) { return types.emplace_back(frame.type), true; }).has_value());
  }
  return types;
}

TEST_CASE("Frames are read wherever the bytes were cut") {
  const std::string text = "{\"type\":\"ADDED\",\"object\":{\"a\":\"\\n{\"}}\n\n{\"type\":\"BOOKMARK\",\"object\":{}}\r\n{\"type\":\"half";
  for (std::size_t piece = 1; piece <= text.size(); ++piece) CHECK(TypesOf(text, piece) == std::vector<std::string>{"ADDED", "BOOKMARK"});
}

TEST_CASE("A line that is no frame is an error, and frames before it were taken") {
  for (const auto* bad : {"nonsense\n", "[]\n", "{}\n", "{\"type\":1,\"object\":{}}\n", "{\"type\":\"ADDED\"}\n", "\xff\n"}) {
    FrameReader reader;
    int taken = 0;
    const auto fed = reader.Feed(std::string("{\"type\":\"A\",\"object\":{}}\n") + bad, [&](const Frame&) { return ++taken, true; });
    REQUIRE_FALSE(fed.has_value());
    CHECK(fed.error().code == Code::kInvalid);
    CHECK(taken == 1);
  }
}

TEST_CASE("A frame without an end is refused before it fills the memory") {
  FrameReader reader;
  const std::string piece(16u << 20, 'x');
  const auto none = [](const Frame&) { return true; };
  for (int i = 0; i < 4; ++i) REQUIRE(reader.Feed(piece, none).has_value());
  CHECK_FALSE(reader.Feed(piece, none).has_value());
}

int ItemsOf(const ListPage& page) {
  int count = 0;
  page.ForEachItem([&](simdjson::dom::element) { ++count; });
  return count;
}

TEST_CASE("A page tells its version, its items and whether more follow") {
  ListPage page;
  REQUIRE(page.Parse(R"({"metadata":{"resourceVersion":"7","continue":"t"},"items":[{},{}]})").has_value());
  CHECK(page.version() == "7");
  CHECK(page.next() == "t");
  CHECK(ItemsOf(page) == 2);
  REQUIRE(page.Parse(R"({"metadata":{"resourceVersion":"8"},"items":null})").has_value());
  CHECK(page.next().empty());
  CHECK(ItemsOf(page) == 0);
  for (const auto* bad :
       {"", "{", "[]", "{}", R"({"metadata":{"resourceVersion":1}})", R"({"metadata":{"resourceVersion":"1"},"items":{}})"}) {
    CHECK_FALSE(page.Parse(bad).has_value());
  }
}

}  // namespace
}  // namespace partage::k8s
