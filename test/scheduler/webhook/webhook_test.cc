// SPDX-License-Identifier: Apache-2.0
#include "scheduler/webhook/webhook.h"

#include "test/scheduler/webhook/desk.h"

namespace partage::scheduler {
namespace {

using Catch::Contains;
using test::Desk;
using test::PodJson;
using test::ReviewJson;

TEST_CASE("Answers are timed by outcome, and malformed bodies counted") {
  Desk desk;
  desk.Judge(PodJson({}));
  desk.Judge(PodJson({{"nvidia.com/gpumem", "1000"}}));
  desk.Judge(PodJson({{"nvidia.com/gpumem", "16Gi"}}));
  CHECK(desk.Post("{").status == 400);
  const auto exposed = desk.registry().Expose();
  for (const char* outcome : {"untouched", "patched", "refused"}) {
    CHECK_THAT(exposed, Contains(fmt::format("partage_webhook_duration_seconds_count{{outcome=\"{}\"}} 1\n", outcome)));
  }
  CHECK_THAT(exposed, Contains("partage_http_bad_requests_total{path=\"/mutate\"} 1\n"));
}

TEST_CASE("A body without a review says so") {
  Desk desk;
  const auto response = desk.Post("{\"kind\":\"Pod\"}");
  CHECK(response.status == 400);
  CHECK_THAT(test::Json::parse(response.body)["error"].get<std::string>(), Contains("admissionReviewVersions"));
}

TEST_CASE("A pod that is not ours is answered in microseconds, large as it may be") {
  Desk desk;
  auto pod = PodJson({{"cpu", "1"}});
  for (int i = 0; i < 50; ++i)
    pod["spec"]["containers"][0]["env"].push_back({{"name", "NAME_" + std::to_string(i)}, {"value", std::string(40, 'v')}});
  const std::string body = ReviewJson(pod).dump();
  auto fastest = std::chrono::steady_clock::duration::max();
  for (int i = 0; i < 200; ++i) {
    const auto began = std::chrono::steady_clock::now();
    CHECK(desk.Post(body).status == 200);
    fastest = std::min(fastest, std::chrono::steady_clock::now() - began);
  }
  CHECK(fastest < std::chrono::milliseconds(1));  // in a debug build, beside others
}

}  // namespace
}  // namespace partage::scheduler
