// SPDX-License-Identifier: Apache-2.0
#include "main/nearest.h"

#include <catch2/catch.hpp>

namespace partage::app {
namespace {

const std::vector<std::string_view> kWords = {"listen", "metricsListen", "nodePolicy", "shortlist"};

TEST_CASE("A slip of the finger is recognised") {
  CHECK(Nearest("listne", kWords) == "listen");
  CHECK(Nearest("NodePolicy", kWords) == "nodePolicy");
  CHECK(Nearest("node_policy", kWords) == "nodePolicy");
  CHECK(Nearest("metricListen", kWords) == "metricsListen");
}

TEST_CASE("A word that resembles nothing suggests nothing") {
  CHECK(Nearest("replicas", kWords).empty());
  CHECK(Nearest("", kWords).empty());
  CHECK(Nearest("listen", {}).empty());
  CHECK(DidYouMean("replicas", kWords).empty());
}

TEST_CASE("The suggestion ends an error message") { CHECK(DidYouMean("shortlits", kWords) == "; did you mean shortlist?"); }

}  // namespace
}  // namespace partage::app
