// SPDX-License-Identifier: Apache-2.0
// Admission reviews, and what the webhook answers to them.
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "scheduler/webhook/review.h"
#include "scheduler/webhook/webhook.h"
#include "test/fuzz/fuzz.h"
#include "test/scheduler/extender/padded_body.h"
#include "test/support/builders.h"
#include "test/support/manual_clock.h"

namespace partage::fuzz {
namespace {

using nlohmann::json;

const Registered kReview("review", [](std::string_view input) {
  const test::PaddedBody body(input);
  const auto review = scheduler::DecodeReview(body);
  if (!review) return;
  PARTAGE_CHECK(!review->uid.empty(), "an answer needs the review's uid");
  PARTAGE_CHECK(review->shapes.size() == review->pod.containers.size(), "a shape for each container");
  PARTAGE_CHECK(review->init_shapes.size() == review->pod.init_containers.size(), "and for each init container");
});

/// A webhook over a small cluster; it lives on from input to input.
struct Desk {
  Desk() {
    cluster.ObserveNode(test::Node("n1").Gpu(1000).Gpu(24000));
    cluster.Publish();
  }

  test::ManualClock clock;
  scheduler::Cluster cluster{clock};
  scheduler::Probe probe;
  std::unique_ptr<scheduler::Engine> engine = scheduler::Engine::Make(cluster, clock, {}, probe).value();
  const vendors::Catalog vendors = vendors::Catalog::Embedded();
  metrics::Registry registry;
  const scheduler::Webhook webhook{*engine, vendors, {"gpu-scheduler"}, registry};
};

void CheckAnswer(const json& answer) {
  PARTAGE_CHECK(answer.value("kind", "") == "AdmissionReview", "a review is answered by a review");
  const json& response = answer.at("response");
  PARTAGE_CHECK(!response.at("uid").get<std::string>().empty(), "with its uid");
  const bool allowed = response.at("allowed").get<bool>();
  PARTAGE_CHECK(allowed || !response.at("status").at("message").get<std::string>().empty(), "a refusal says why");
  PARTAGE_CHECK(allowed || !response.contains("patch"), "and changes nothing");
  PARTAGE_CHECK(response.contains("patch") == response.contains("patchType"), "a patch says of which type it is");
}

const Registered kWebhook("webhook", [](std::string_view input) {
  static Desk desk;
  const test::PaddedBody body(input);
  for (const bool cluster_known : {false, true}) {
    const auto response = desk.webhook.Mutate({.method = "POST", .path = "/mutate", .query = {}, .body = body}, cluster_known);
    PARTAGE_CHECK(response.status == 200 || response.status == 400, "answered, or not a review");
    const auto answer = json::parse(response.body, nullptr, false);
    PARTAGE_CHECK(!answer.is_discarded(), "what is answered is JSON");
    if (response.status == 200) CheckAnswer(answer);
  }
});

}  // namespace
}  // namespace partage::fuzz
