// SPDX-License-Identifier: Apache-2.0
#include "scheduler/webhook/canonical.h"

#include <fmt/format.h>

#include "scheduler/extender/json_text.h"

namespace partage::scheduler {
namespace {

std::string JsonText(std::string_view text) {
  std::string json;
  AppendJsonString(json, text);
  return json;
}

/// Limits that a container lacks for one vendor's request.
class Missing {
 public:
  Missing(const k8s::Container& container, k8s::StringMap& missing) : container_(container), missing_(missing) {}

  /// `otherwise` is what the absence stands for; 0: nothing need be written.
  void Write(const std::string& resource, std::int64_t otherwise) {
    if (resource.empty() || container_.limits.contains(resource)) return;
    const auto requested = container_.requests.find(resource);
    if (requested != container_.requests.end()) {
      missing_[resource] = requested->second;
    } else if (otherwise > 0) {
      missing_[resource] = std::to_string(otherwise);
    }
  }
  bool Says(const std::string& resource) const { return container_.limits.contains(resource) || container_.requests.contains(resource); }

 private:
  const k8s::Container& container_;
  k8s::StringMap& missing_;
};

k8s::StringMap MissingLimits(const k8s::Container& container, const device::ContainerRequest& request, const vendors::Catalog& vendors) {
  k8s::StringMap limits;
  Missing missing(container, limits);
  for (const auto& wanted : request.devices) {
    const auto& vendor = *vendors.Find(wanted.vendor);
    const bool by_default = !missing.Says(vendor.memory_resource) && !missing.Says(vendor.percent_resource);
    const bool whole_units = wanted.mib % vendor.memory_factor == 0;
    missing.Write(vendor.count_resource, wanted.count);
    missing.Write(vendor.memory_resource, by_default && whole_units ? wanted.mib / vendor.memory_factor : 0);
    missing.Write(vendor.percent_resource, 0);
    missing.Write(vendor.cores_resource, wanted.cores);
    missing.Write(vendor.priority_resource, 0);
  }
  return limits;
}

std::string JsonObject(const k8s::StringMap& members) {
  std::string json = "{";
  for (const auto& [name, text] : members) json += (json.size() > 1 ? "," : "") + JsonText(name) + ":" + JsonText(text);
  return json + "}";
}

void AddLimits(const std::string& container, const ContainerShape& shape, const k8s::StringMap& limits, std::vector<PatchStep>& steps) {
  if (limits.empty()) return;
  if (!shape.has_resources) {
    steps.push_back({container + "/resources", R"({"limits":)" + JsonObject(limits) + "}"});
  } else if (!shape.has_limits) {
    steps.push_back({container + "/resources/limits", JsonObject(limits)});
  } else {
    for (const auto& [name, text] : limits) steps.push_back({container + "/resources/limits/" + PathPart(name), JsonText(text)});
  }
}

}  // namespace

std::vector<PatchStep> CanonicalPatch(const Review& review, const device::PodRequest& request, const vendors::Catalog& vendors) {
  std::vector<PatchStep> steps;
  const auto& pod = review.pod;
  const std::size_t inits = pod.init_containers.size();
  for (std::size_t c = 0; c < request.containers.size(); ++c) {
    const bool init = c < inits;
    const std::size_t at = init ? c : c - inits;
    const auto path = fmt::format("/spec/{}/{}", init ? "initContainers" : "containers", at);
    const auto limits = MissingLimits(init ? pod.init_containers[at] : pod.containers[at], request.containers[c], vendors);
    AddLimits(path, init ? review.init_shapes[at] : review.shapes[at], limits, steps);
  }
  return steps;
}

}  // namespace partage::scheduler
