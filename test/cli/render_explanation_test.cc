// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include "cli/render.h"

namespace partage::cli {
namespace {

const Painter kPlain(false);

TEST_CASE("A waiting pod's explanation reads from the request to the change that helps") {
  const auto text = RenderExplanation(
      R"({"pod":"ml/train","state":"waiting","uid":"u","reason":"r","request":[{"container":"main","vendor":"nvidia","count":1,"memoryMiB":90112,"cores":30}],
          "fits":{"nodes":0,"first":[]},"refused":[{"nodes":2,"reason":"no GPU has 90112 MiB"}],
          "nearest":{"node":"n1","reason":"largest is GPU 0 of n1"},
          "changes":[{"what":"memoryMiB","container":"main","from":90112,"to":81920},{"what":"constraints"}]})",
      kPlain);
  REQUIRE(text);
  CHECK(*text ==
        "ml/train waits\n"
        "  asks     main: 1 × 88 GiB, 30 % compute\n"
        "  refused  2 nodes: no GPU has 90112 MiB\n"
        "  nearest  largest is GPU 0 of n1\n"
        "  would    main: memoryMiB 81920 instead of 90112\n"
        "  would    accept any card: without the UUID, type, mode and NUMA annotations it fits\n");
}

TEST_CASE("A placed pod's explanation names its share and the decision") {
  const auto text = RenderExplanation(
      R"({"pod":"ml/a","state":"bound","uid":"u","node":"n1","devices":[{"uuid":"GPU-a","memoryMiB":1024,"cores":0}],
          "decision":{"node":"n1","nodePolicy":"binpack","devicePolicies":["spread"],"score":0.5,"candidates":7,"shortlist":1}})",
      kPlain);
  REQUIRE(text);
  CHECK(*text ==
        "ml/a is bound on n1\n"
        "  holds    1 GiB of GPU-a, 0 % compute\n"
        "  decided  binpack ranked n1 first of 7 candidates (score 0.500); its cards by spread\n");
}

TEST_CASE("An explanation that is none is an error") {
  for (const char* body : {"", "[]", "{}", R"({"state":"waiting"})", R"({"state":"bound","pod":1})"})
    CHECK_FALSE(RenderExplanation(body, kPlain));
}

}  // namespace
}  // namespace partage::cli
