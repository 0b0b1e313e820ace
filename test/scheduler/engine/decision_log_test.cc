// SPDX-License-Identifier: Apache-2.0
#include "scheduler/engine/decision_log.h"

#include <string>

#include <catch2/catch.hpp>

namespace partage::scheduler {
namespace {

Decision Of(const std::string& name, const std::string& node) {
  Decision decision;
  decision.pod = {.ns = "ml", .name = name, .uid = "uid-of-" + name};
  decision.node = node;
  return decision;
}

TEST_CASE("The latest decision about a name is the one found, and of that namespace only") {
  DecisionLog log;
  CHECK_FALSE(log.Find("ml", "a"));
  log.Add(Of("a", "n1"));
  log.Add(Of("b", "n2"));
  log.Add(Of("a", "n3"));
  REQUIRE(log.Find("ml", "a"));
  CHECK(log.Find("ml", "a")->node == "n3");
  CHECK(log.Find("ml", "b")->node == "n2");
  CHECK_FALSE(log.Find("default", "a"));
}

TEST_CASE("A full log forgets the oldest decision, one for each new one") {
  DecisionLog log;
  for (std::size_t i = 0; i < DecisionLog::kKept; ++i) log.Add(Of(std::to_string(i), "n1"));
  CHECK(log.Find("ml", "0"));
  for (std::size_t i = 0; i < 3; ++i) log.Add(Of("later-" + std::to_string(i), "n2"));
  CHECK_FALSE(log.Find("ml", "2"));
  CHECK(log.Find("ml", "3"));
  CHECK(log.Find("ml", std::to_string(DecisionLog::kKept - 1)));
  for (std::size_t i = 0; i < 3; ++i) CHECK(log.Find("ml", "later-" + std::to_string(i)));
}

}  // namespace
}  // namespace partage::scheduler
