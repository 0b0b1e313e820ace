// SPDX-License-Identifier: Apache-2.0
#include "scheduler/webhook/admission.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "scheduler/extender/json_text.h"
#include "scheduler/webhook/canonical.h"
#include "scheduler/webhook/inventory_check.h"

namespace partage::scheduler {
namespace {

constexpr std::string_view kDefaultScheduler = "default-scheduler";  // what the API server writes where a pod names none
constexpr std::string_view kMirrorAnnotation = "kubernetes.io/config.mirror";

Verdict Refused(std::string message) { return {.allowed = false, .message = std::move(message), .patch = {}, .warnings = {}}; }

/// A kubelet's picture of a pod that it runs already, from a file: nobody can place it any more.
bool IsMirror(const k8s::Pod& pod) { return pod.annotations.contains(kMirrorAnnotation); }

const k8s::Container* Privileged(const std::vector<k8s::Container>& containers, const std::vector<ContainerShape>& shapes) {
  const auto found = std::find_if(shapes.begin(), shapes.end(), [](const ContainerShape& shape) { return shape.privileged; });
  return found == shapes.end() ? nullptr : &containers[static_cast<std::size_t>(found - shapes.begin())];
}

const k8s::Container* Privileged(const Review& review) {
  const auto* init = Privileged(review.pod.init_containers, review.init_shapes);
  return init != nullptr ? init : Privileged(review.pod.containers, review.shapes);
}

}  // namespace

Admission::Admission(Engine& engine, const vendors::Catalog& vendors, AdmissionOptions options)
    : engine_(engine), vendors_(vendors), requests_(vendors), options_(std::move(options)) {}

bool Admission::NamesAnotherScheduler(const k8s::Pod& pod) const {
  const auto& name = pod.scheduler_name;
  return !options_.scheduler_name.empty() && !name.empty() && name != kDefaultScheduler && name != options_.scheduler_name;
}

Verdict Admission::Judge(const Review& review, bool cluster_known) const {
  if (!review.pod_error.empty()) return Refused("the pod cannot be read: " + review.pod_error);
  if (!review.creates_pod || review.opted_out || IsMirror(review.pod)) return {};
  const auto request = requests_.Of(review.pod);
  if (request && *request == nullptr) return {};
  if (NamesAnotherScheduler(review.pod)) {
    Verdict verdict;
    verdict.warnings.push_back(fmt::format("spec.schedulerName {} is not {}: this pod gets no share of a GPU from Partage",
                                           Quoted(review.pod.scheduler_name), Quoted(options_.scheduler_name)));
    return verdict;
  }
  if (!request) return Refused(request.error().message);
  if (cluster_known) {
    if (const auto never = engine_.cluster().QuotaRefusalAlone(review.pod.ns, **request)) return Refused(*never);
  }
  if (auto checked = Check(review, **request); !checked) return Refused(checked.error().message);
  return Allow(review, **request, cluster_known);
}

Result<> Admission::Check(const Review& review, const device::PodRequest& request) const {
  if (!review.pod.node_name.empty()) {
    return Fail(Code::kInvalid,
                "spec.nodeName is {}, so no scheduler would give this pod its share of a GPU; use spec.nodeSelector with "
                "kubernetes.io/hostname instead",
                Quoted(review.pod.node_name));
  }
  if (const auto* container = Privileged(review)) {
    return Fail(Code::kInvalid,
                "container {} is privileged, so it would reach every GPU of the node beside its share; drop privileged or the GPU",
                container->name);
  }
  const auto snapshot = engine_.cluster().snapshot();
  return CheckUuids(request, vendors_, KnownDevices(*snapshot));
}

Verdict Admission::Allow(const Review& review, const device::PodRequest& request, bool cluster_known) const {
  Verdict verdict;
  verdict.patch = CanonicalPatch(review, request, vendors_);
  verdict.warnings = request.warnings;
  if (!options_.scheduler_name.empty() && review.pod.scheduler_name != options_.scheduler_name) {
    std::string name;
    AppendJsonString(name, options_.scheduler_name);
    verdict.patch.push_back({"/spec/schedulerName", std::move(name)});
  }
  if (cluster_known) {
    WarnOfCluster(request, verdict.warnings);
    if (const auto over = engine_.cluster().QuotaRefusal(review.pod.ns, request)) verdict.warnings.push_back("the pod will wait: " + *over);
  }
  return verdict;
}

void Admission::WarnOfCluster(const device::PodRequest& request, std::vector<std::string>& warnings) const {
  const auto snapshot = engine_.cluster().snapshot();
  for (auto& warning : WarnOfNames(request.constraints, KnownDevices(*snapshot))) warnings.push_back(std::move(warning));
  if (const auto why = engine_.WhyNever(request)) {
    warnings.push_back(fmt::format("no node of the cluster could ever run this pod: {}", *why));
  }
}

}  // namespace partage::scheduler
