// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include <simdjson.h>

#include "base/text.h"
#include "http/server.h"
#include "k8s/api/decode.h"
#include "scheduler/webhook/review.h"

namespace partage::scheduler {
namespace {

using simdjson::dom::element;

static_assert(http::kBodyPadding >= simdjson::SIMDJSON_PADDING, "bodies are parsed in place");

constexpr std::string_view kApiVersion = "admission.k8s.io/v1";
constexpr std::size_t kKeptBody = 1u << 20;  // a parser that has read more than this keeps several times as much memory

// One parser a server thread: what it reads is used up before the thread takes its next request.
simdjson::dom::parser& ThreadParser(std::size_t body) {
  thread_local simdjson::dom::parser parser;
  thread_local std::size_t last = 0;
  if (std::exchange(last, body) > kKeptBody) parser = simdjson::dom::parser();
  return parser;
}

/// A text member; empty when it is absent, null or no text.
std::string_view TextOf(element object, std::string_view name) {
  std::string_view text;
  return object[name].get(text) == simdjson::SUCCESS ? text : std::string_view();
}

bool HasObject(element object, std::string_view name) {
  simdjson::dom::object found;
  return object[name].get(found) == simdjson::SUCCESS;
}

bool CreatesPod(element request) {
  element resource;
  if (request["resource"].get(resource) != simdjson::SUCCESS) return false;
  return TextOf(request, "operation") == "CREATE" && TextOf(resource, "group").empty() && TextOf(resource, "resource") == "pods" &&
         TextOf(request, "subResource").empty();
}

bool OptedOut(element pod) {
  element labels;
  if (pod["metadata"]["labels"].get(labels) != simdjson::SUCCESS) return false;
  return std::any_of(std::begin(kOptOutLabels), std::end(kOptOutLabels), [&](auto label) { return TextOf(labels, label) == "ignore"; });
}

ContainerShape ShapeOf(element container) {
  ContainerShape shape;
  shape.has_resources = HasObject(container, "resources");
  shape.has_limits = shape.has_resources && HasObject(container["resources"].value(), "limits");
  bool privileged = false;
  shape.privileged = container["securityContext"]["privileged"].get(privileged) == simdjson::SUCCESS && privileged;
  return shape;
}

std::vector<ContainerShape> ShapesOf(element pod, std::string_view list) {
  std::vector<ContainerShape> shapes;
  simdjson::dom::array containers;
  if (pod["spec"][list].get(containers) != simdjson::SUCCESS) return shapes;
  for (const element container : containers) shapes.push_back(ShapeOf(container));
  return shapes;
}

void ReadPod(element object, Review& review) {
  auto pod = k8s::DecodeNewPod(object);
  auto init_shapes = ShapesOf(object, "initContainers"), shapes = ShapesOf(object, "containers");
  if (!pod) {
    review.pod_error = pod.error().message;
  } else if (init_shapes.size() != pod->init_containers.size() || shapes.size() != pod->containers.size()) {
    review.pod_error = "spec, or a list of containers in it, is given twice";
  } else {
    review.pod = *std::move(pod);
    review.opted_out = OptedOut(object);
    review.init_shapes = std::move(init_shapes);
    review.shapes = std::move(shapes);
  }
}

}  // namespace

Result<Review> DecodeReview(std::string_view body) {
  element root, request;
  if (const auto error = ThreadParser(body.size()).parse(body.data(), body.size(), false).get(root)) {
    return Fail(Code::kInvalid, "body: {}", simdjson::error_message(error));
  }
  if (!root.is_object()) return Fail(Code::kInvalid, "body: not a JSON object");
  if (TextOf(root, "kind") != "AdmissionReview" || TextOf(root, "apiVersion") != kApiVersion) {
    return Fail(Code::kInvalid, "{} {} is not served; set admissionReviewVersions: [v1], which gives AdmissionReview {}",
                Quoted(TextOf(root, "kind")), Quoted(TextOf(root, "apiVersion")), kApiVersion);
  }
  if (!HasObject(root, "request")) return Fail(Code::kInvalid, "request: missing");
  request = root["request"].value();
  Review review;
  review.uid = TextOf(request, "uid");
  if (review.uid.empty()) return Fail(Code::kInvalid, "request.uid: missing");
  review.creates_pod = CreatesPod(request);
  if (!review.creates_pod) return review;
  element pod;
  if (request["object"].get(pod) != simdjson::SUCCESS || pod.is_null()) return Fail(Code::kInvalid, "request.object: missing");
  ReadPod(pod, review);
  if (const auto ns = TextOf(request, "namespace"); !ns.empty()) review.pod.ns = ns;
  return review;
}

}  // namespace partage::scheduler
