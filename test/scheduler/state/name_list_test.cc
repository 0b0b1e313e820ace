// SPDX-License-Identifier: Apache-2.0
#include "scheduler/state/name_list.h"

#include <algorithm>
#include <numeric>
#include <random>

#include <fmt/format.h>
#include <catch2/catch.hpp>

namespace partage::scheduler {
namespace {

std::shared_ptr<const NodeIndex> IndexOf(int nodes, NodeId first_id = 0) {
  std::vector<std::pair<std::string, NodeId>> all;
  for (int n = 0; n < nodes; ++n) all.emplace_back(fmt::format("node-{}", n), first_id + static_cast<NodeId>(n));
  return std::make_shared<NodeIndex>(std::move(all), first_id + static_cast<NodeId>(nodes));
}

std::string ListOf(const std::vector<std::string>& names) {
  std::string list;
  for (const auto& name : names) list += fmt::format("{}\"{}\"", list.empty() ? "" : ",", name);
  return list;
}

struct Reading {
  std::string text;
  std::vector<std::string_view> names;
  std::vector<NodeId> ids;

  bool Read(const std::string& list, const std::shared_ptr<const NodeIndex>& index) {
    text = list + std::string(kNameListPadding, '"');
    return ReadNameList(std::string_view(text).substr(0, list.size()), *index, names, ids);
  }
  /// Names and ids are what a look-up of each name gives.
  bool Right(const std::vector<std::string>& asked, const NodeIndex& index) const {
    return std::equal(names.begin(), names.end(), asked.begin(), asked.end()) && ids == index.FindAll(names);
  }
};

TEST_CASE("Names in any order, known or not, are read with their ids") {
  std::mt19937 random(GENERATE(range(1u, 6u)));
  const auto index = IndexOf(300);
  Reading reading;
  std::vector<int> order(300);
  std::iota(order.begin(), order.end(), 0);
  for (int call = 0; call < 40; ++call) {
    if (call % 4 == 0) std::shuffle(order.begin(), order.end(), random);
    if (call % 4 == 1) std::rotate(order.begin(), order.begin() + 50, order.end());
    std::vector<std::string> asked;
    for (const int n : order) {
      const auto chance = random() % 20;
      if (chance > 0 || call % 4 == 3) asked.push_back(fmt::format("node-{}", chance == 1 ? n + 1000 : n));
    }
    const std::string list = ListOf(asked);
    REQUIRE(reading.Read(list, index));
    REQUIRE(reading.Right(asked, *index));
  }
}

TEST_CASE("A name that begins like another is another name") {
  const auto index = std::make_shared<NodeIndex>(std::vector<std::pair<std::string, NodeId>>{{"n1", 0}, {"n10", 1}, {"n100", 2}}, 3);
  Reading reading;
  for (const auto& asked : std::vector<std::vector<std::string>>{{"n10"}, {"n100"}, {"n1"}, {"n1000"}, {"n"}, {"n10", "n1", "n100"}}) {
    const std::string list = ListOf(asked);
    REQUIRE(reading.Read(list, index));
    CHECK(reading.Right(asked, *index));
  }
}

TEST_CASE("An empty list holds no names, and an empty index knows none") {
  Reading reading;
  REQUIRE(reading.Read("", IndexOf(3)));
  CHECK(reading.names.empty());
  REQUIRE(reading.Read(R"("a","b")", IndexOf(0)));
  CHECK(reading.ids == std::vector{kNoNode, kNoNode});
}

TEST_CASE("Whatever Go would not write for node names is left to a JSON parser") {
  Reading reading;
  const auto index = IndexOf(3);
  const std::vector<std::string> lists = {R"("node-0",)",
                                          R"(,"node-0")",
                                          R"("node-0" ,"node-1")",
                                          R"("node-0","node-1)",
                                          R"("node-0""node-1")",
                                          R"("node-\u0030")",
                                          R"("")",
                                          R"(node-0)",
                                          R"("node-0",null)",
                                          R"("node-0"])",
                                          "\"node-0\",\"n\x01\"",
                                          "\"no\xc3\xa4\"",
                                          "\"",
                                          R"("node-0","a]},{"b")"};
  for (const auto& list : lists) {
    CAPTURE(list);
    CHECK_FALSE(reading.Read(list, index));
  }
}

}  // namespace
}  // namespace partage::scheduler
