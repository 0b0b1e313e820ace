// SPDX-License-Identifier: Apache-2.0
#include "scheduler/webhook/review.h"

#include <chrono>

#include "test/scheduler/webhook/desk.h"
#include "test/support/damage.h"

namespace partage::scheduler {
namespace {

using Catch::Contains;
using test::Desk;
using test::Json;
using test::PaddedBody;
using test::PodJson;
using test::ReviewJson;

std::string Complaint(const std::string& body) {
  const auto review = DecodeReview(PaddedBody(body));
  REQUIRE_FALSE(review.has_value());
  CHECK(review.error().code == Code::kInvalid);
  return review.error().message;
}

std::string Changed(const Json& change) {
  auto review = ReviewJson(PodJson({}));
  review.merge_patch(change);
  return review.dump();
}

TEST_CASE("A body that is no review is refused with what is wrong") {
  CHECK_THAT(Complaint(""), Contains("body"));
  CHECK_THAT(Complaint("[]"), Contains("not a JSON object"));
  CHECK_THAT(Complaint("{}"), Contains("AdmissionReview"));
  CHECK_THAT(Complaint(Changed({{"apiVersion", "admission.k8s.io/v1beta1"}})),
             Contains("v1beta1") && Contains("admissionReviewVersions: [v1]"));
  CHECK_THAT(Complaint(Changed({{"kind", "Pod"}})), Contains("\"Pod\""));
  CHECK_THAT(Complaint(Changed({{"request", nullptr}})), Contains("request: missing"));
  CHECK_THAT(Complaint(Changed({{"request", {{"uid", ""}}}})), Contains("request.uid"));
  CHECK_THAT(Complaint(Changed({{"request", {{"uid", 7}}}})), Contains("request.uid"));
  CHECK_THAT(Complaint(Changed({{"request", {{"object", nullptr}}}})), Contains("request.object"));
  CHECK_THAT(Complaint(std::string(5000, '[')), Contains("body"));
}

TEST_CASE("A review carries what a verdict needs") {
  auto pod = PodJson({{"nvidia.com/gpu", "1"}});
  pod["spec"]["initContainers"] = {{{"name", "a"}}, {{"name", "b"}, {"resources", Json::object()}}};
  const auto review = DecodeReview(PaddedBody(ReviewJson(pod).dump()));
  REQUIRE(review.has_value());
  CHECK(review->uid == "u-1");
  CHECK(review->creates_pod);
  CHECK(review->pod.ns == "team");
  CHECK(review->pod.name == "");
  REQUIRE(review->shapes.size() == 1);
  CHECK(review->shapes[0].has_limits);
  CHECK_FALSE(review->init_shapes.at(0).has_resources);
  CHECK(review->init_shapes.at(1).has_resources);
  CHECK_FALSE(review->init_shapes.at(1).has_limits);
}

TEST_CASE("A pod that cannot be read is refused in the review") {
  Desk desk;
  auto pod = PodJson({});
  pod["spec"]["containers"] = "none";
  CHECK_THAT(desk.Refusal(pod), Contains("cannot be read") && Contains("spec.containers"));
}

TEST_CASE("A pod whose containers are given twice is refused, for nobody can tell which are meant") {
  Desk desk;
  const std::string container = R"([{"name":"a","resources":{"limits":{"nvidia.com/gpumem":"10"}}}])";
  for (const std::string& spec : {R"("spec":{"containers":)" + container + R"(,"containers":)" + container + "}",
                                  R"("spec":{"containers":)" + container + R"(},"spec":{"initContainers":)" + container + "}"}) {
    const auto response = desk.Post(
        R"({"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"CREATE","resource":{"resource":"pods"},"object":{)" +
        spec + "}}}");
    CHECK(response.status == 200);
    CHECK_THAT(response.body, Contains("\"allowed\":false") && Contains("given twice"));
  }
}

TEST_CASE("Verdicts are encoded as the API server wants them, whatever the texts hold") {
  CHECK(EncodeVerdict("u", {}) == R"({"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"u","allowed":true}})");
  const auto refused =
      Json::parse(EncodeVerdict("\"\n\xff", {.allowed = false, .message = "a \"b\" \x01\xff", .patch = {}, .warnings = {"w\n"}}));
  CHECK(refused["response"]["status"]["message"] == "a \"b\" \x01\xEF\xBF\xBD");
  CHECK(refused["response"]["warnings"][0] == "w\n");
  CHECK(PathPart("a/b~c") == "a~1b~0c");
  for (const std::string value : {"1", "12", "123", "1234"}) {
    const auto json = Json::parse(EncodeVerdict("u", {.allowed = true, .message = "", .patch = {{"/p", value}}, .warnings = {}}));
    CHECK(test::FromBase64(json["response"]["patch"]) == R"([{"op":"add","path":"/p","value":)" + value + "}]");
  }
}

TEST_CASE("Damaged and truncated reviews get an answer") {
  Desk desk;
  desk.With(test::Node("n").Gpus(1, 1000));
  auto pod = PodJson({{"nvidia.com/gpumem", "16"}}, {{"nvidia.com/use-gpuuuid", "n-gpu0"}});
  pod["metadata"]["labels"] = {{"partage.dev/webhook", "no"}};
  int answered = 0, malformed = 0;
  test::ForEachDamaged(ReviewJson(pod).dump(), 3000, [&](const std::string& damaged) {
    const auto response = desk.Post(damaged);
    CHECK((response.status == 200 || response.status == 400));
    CHECK(Json::accept(response.body));
    ++(response.status == 200 ? answered : malformed);
  });
  CHECK(answered > 0);
  CHECK(malformed > 0);
}

}  // namespace
}  // namespace partage::scheduler
