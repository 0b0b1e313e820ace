// SPDX-License-Identifier: Apache-2.0
// The API server's admission protocol, admission.k8s.io/v1, as text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "k8s/api/pod.h"

namespace partage::scheduler {

/// What a container's document has beyond what k8s::Container keeps.
struct ContainerShape {
  bool has_resources = false, has_limits = false;  ///< the members exist, so that a patch can add to them
  bool privileged = false;
};

/// An AdmissionReview's request, as far as it matters here.
struct Review {
  std::string uid;                                  ///< of the review; the answer repeats it
  bool creates_pod = false;                         ///< CREATE of a pod itself; otherwise nothing below is filled
  std::string pod_error;                            ///< not empty: there is a pod, but it cannot be read, and nothing below is filled
  bool opted_out = false;                           ///< the pod carries an opt-out label (kOptOutLabels)
  k8s::Pod pod;                                     ///< its name may be empty (generateName); its namespace is the request's
  std::vector<ContainerShape> init_shapes, shapes;  ///< of pod.init_containers and pod.containers
};

/// A pod with one of these labels set to "ignore" is left alone.
inline constexpr std::string_view kOptOutLabels[] = {"partage.dev/webhook", "hami.io/webhook"};

/// Reads an AdmissionReview. kInvalid says where the body is wrong: not JSON, another API version or kind, no request, no uid, a pod to be created without the
/// pod. REQUIRES: http::kBodyPadding readable bytes after `body`.
Result<Review> DecodeReview(std::string_view body);

/// One step of a JSON patch: adds `value` (JSON) at `path`.
struct PatchStep {
  std::string path;
  std::string value;
};

/// What is answered to a review.
struct Verdict {
  bool allowed = true;
  std::string message;                ///< why not
  std::vector<PatchStep> patch;       ///< only when allowed
  std::vector<std::string> warnings;  ///< shown to whoever sent the request; cut to what the API server passes on
};

/// The AdmissionReview that answers `uid`.
std::string EncodeVerdict(std::string_view uid, const Verdict& verdict);
/// The steps as a JSON document.
std::string EncodePatch(const std::vector<PatchStep>& steps);
/// A name as a part of a patch's path: '~' and '/' escaped.
std::string PathPart(std::string_view name);

}  // namespace partage::scheduler
