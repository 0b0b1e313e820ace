// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "scheduler/webhook/webhook.h"
#include "test/scheduler/extender/padded_body.h"
#include "test/support/builders.h"
#include "test/support/manual_clock.h"

namespace partage::test {

using Json = nlohmann::json;

inline Json Limits(Json quantities) { return {{"limits", std::move(quantities)}}; }

/// A pod as the API server sends it: one container "main" with these limits, defaults filled in.
inline Json PodJson(Json limits, Json annotations = Json::object()) {
  return {
      {"apiVersion", "v1"},
      {"kind", "Pod"},
      {"metadata", {{"generateName", "p-"}, {"annotations", std::move(annotations)}}},
      {"spec", {{"schedulerName", "default-scheduler"}, {"containers", {{{"name", "main"}, {"resources", Limits(std::move(limits))}}}}}}};
}

inline Json ReviewJson(const Json& object) {
  return {{"apiVersion", "admission.k8s.io/v1"},
          {"kind", "AdmissionReview"},
          {"request",
           {{"uid", "u-1"},
            {"kind", {{"group", ""}, {"version", "v1"}, {"kind", "Pod"}}},
            {"resource", {{"group", ""}, {"version", "v1"}, {"resource", "pods"}}},
            {"namespace", "team"},
            {"operation", "CREATE"},
            {"object", object},
            {"oldObject", nullptr},
            {"dryRun", false}}}};
}

/// The bytes of a base64 text.
inline std::string FromBase64(const std::string& text) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  unsigned group = 0, bits = 0;
  for (const char c : text.substr(0, text.find('='))) {
    group = group << 6 | static_cast<unsigned>(digits.find(c));
    bits += 6;
    if (bits >= 8) bytes += static_cast<char>(group >> (bits -= 8) & 255);
  }
  return bytes;
}

/// A webhook over a cluster of the test's making.
class Desk {
 public:
  explicit Desk(std::string scheduler_name = "", vendors::Catalog catalog = vendors::Catalog::Embedded())
      : catalog_(std::move(catalog)), webhook_(*engine_, catalog_, {std::move(scheduler_name)}, registry_) {}

  Desk& With(const scheduler::NodeObservation& node) {
    cluster_.ObserveNode(node);
    cluster_.Publish();
    return *this;
  }

  scheduler::Cluster& cluster() { return cluster_; }

  http::Response Post(const std::string& body, bool cluster_known = true) {
    const PaddedBody padded(body);
    return webhook_.Mutate({.method = "POST", .path = "/mutate", .query = "timeout=10s", .body = padded}, cluster_known);
  }
  /// The "response" of the answer to a review, which must be a good one.
  Json Answer(const Json& review, bool cluster_known = true) {
    const auto response = Post(review.dump(), cluster_known);
    INFO(response.body);
    REQUIRE(response.status == 200);
    const auto answer = Json::parse(response.body);
    CHECK(answer["kind"] == "AdmissionReview");
    CHECK(answer["apiVersion"] == "admission.k8s.io/v1");
    CHECK(answer["response"]["uid"] == review["request"]["uid"]);
    return answer["response"];
  }
  Json Judge(const Json& pod) { return Answer(ReviewJson(pod)); }

  /// The pod as it is created; it must be allowed.
  Json Created(const Json& pod) {
    const auto answer = Judge(pod);
    INFO(answer.dump());
    REQUIRE(answer["allowed"] == true);
    CHECK(answer.contains("patch") == answer.contains("patchType"));
    if (!answer.contains("patch")) return pod;
    CHECK(answer["patchType"] == "JSONPatch");
    return pod.patch(Json::parse(FromBase64(answer["patch"])));
  }
  std::string Refusal(const Json& pod) {
    const auto answer = Judge(pod);
    INFO(answer.dump());
    REQUIRE(answer["allowed"] == false);
    CHECK_FALSE(answer.contains("patch"));
    CHECK(answer["status"]["code"] == 400);
    return answer["status"]["message"];
  }
  std::vector<std::string> Warnings(const Json& pod) { return Judge(pod).value("warnings", std::vector<std::string>()); }

  metrics::Registry& registry() { return registry_; }
  const vendors::Catalog& catalog() const { return catalog_; }

 private:
  ManualClock clock_;
  scheduler::Cluster cluster_{clock_};
  scheduler::Probe probe_;
  std::unique_ptr<scheduler::Engine> engine_ = scheduler::Engine::Make(cluster_, clock_, {}, probe_).value();
  const vendors::Catalog catalog_;
  metrics::Registry registry_;
  scheduler::Webhook webhook_;
};

}  // namespace partage::test
