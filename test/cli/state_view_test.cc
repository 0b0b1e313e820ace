// SPDX-License-Identifier: Apache-2.0
#include "cli/state_view.h"

#include <catch2/catch.hpp>

namespace partage::cli {
namespace {

TEST_CASE("A state document is read") {
  const auto state = ParseState(R"({"counts":{},"nodes":[{"name":"n1","inventory":"partage","quarantine":"why",
    "devices":[{"uuid":"GPU-a","vendor":"nvidia","model":"M","index":3,"numa":1,"mode":"shared","healthy":true,"cordoned":false,
      "slots":{"total":10,"used":2},"memoryMiB":{"total":100,"used":50},"cores":{"total":100,"used":30}}],
    "pods":[{"namespace":"a","name":"p","uid":"u","state":"bound","allocationError":"bad",
      "devices":[{"uuid":"GPU-a","slots":1,"memoryMiB":50,"cores":30,"exclusive":false}]}]}],
    "waiting":[{"namespace":"a","name":"w","uid":"x","reason":"too big"}]})");
  REQUIRE(state.has_value());
  const NodeState& node = state->nodes.at(0);
  CHECK(node.quarantine == "why");
  CHECK(node.devices.at(0).index == 3);
  CHECK(node.devices.at(0).mib.used == 50);
  CHECK(node.pods.at(0).shares.at(0).cores == 30);
  CHECK(node.pods.at(0).allocation_error == "bad");
  CHECK(state->waiting.at(0).reason == "too big");
}

TEST_CASE("A state without pods is read") {
  CHECK(ParseState(R"({"nodes":[{"name":"n","devices":[]}],"waiting":[]})").value().nodes.at(0).pods.empty());
}

TEST_CASE("Another document is refused") {
  for (const char* text : {"", "[]", "{}", R"({"nodes":[{"name":1}],"waiting":[]})"}) {
    const auto state = ParseState(text);
    REQUIRE_FALSE(state.has_value());
    CHECK(state.error().message.find("the state is not what this partagectl understands") == 0);
  }
}

}  // namespace
}  // namespace partage::cli
