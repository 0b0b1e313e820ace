// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/problem.h"
#include "base/quantity.h"
#include "base/text.h"
#include "vendors/vendor.h"

namespace partage::vendors {
namespace {

constexpr std::string_view kLower = "abcdefghijklmnopqrstuvwxyz";
constexpr std::string_view kDigits = "0123456789";

bool IsAlphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

// Characters from the set, with an alphanumeric one at both ends.
bool IsLabel(std::string_view text, std::size_t most, std::string_view also) {
  if (text.empty() || text.size() > most || !IsAlphanumeric(text.front()) || !IsAlphanumeric(text.back())) return false;
  return std::all_of(text.begin(), text.end(), [&](char c) { return IsAlphanumeric(c) || also.find(c) != std::string_view::npos; });
}

bool IsDnsName(std::string_view text) {
  const bool lower = text.find_first_not_of(std::string(kLower) + std::string(kDigits) + "-.") == std::string_view::npos;
  const auto labels = Split(text, '.');
  return lower && text.size() <= 253 && std::all_of(labels.begin(), labels.end(), [](auto label) { return IsLabel(label, 63, "-"); });
}

// Kubernetes' rule for extended resources: domain/name, and the domain is not Kubernetes' own.
bool IsExtendedResource(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return false;
  const auto domain = text.substr(0, slash);
  const bool own = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io") || text.starts_with("requests.");
  return !own && IsDnsName(domain) && IsLabel(text.substr(slash + 1), 63, "-_.");
}

void CheckNumber(const Vendor& vendor, std::string_view what, std::int32_t number, std::int32_t least, std::int32_t most,
                 Problem& problem) {
  if (number < least || number > most) problem.Report("vendor {}: {} {} is not from {} to {}", vendor.name, what, number, least, most);
}

void CheckVendor(const Vendor& vendor, Problem& problem) {
  const bool plain = vendor.name.find_first_not_of(std::string(kLower) + std::string(kDigits) + "-") == std::string::npos;
  if (vendor.name.empty() || !plain) problem.Report("vendor name {} must be lower-case letters, digits and '-'", Quoted(vendor.name));
  if (vendor.count_resource.empty()) problem.Report("vendor {}: resources.count is missing", vendor.name);
  for (const auto& resource : vendor.Resources()) {
    if (!IsExtendedResource(resource))
      problem.Report("vendor {}: {} is not a valid extended resource like nvidia.com/gpu", vendor.name, Quoted(resource));
  }
  const std::string_view prefix = vendor.annotation_prefix;
  if (!prefix.empty() && (!prefix.ends_with('/') || !IsDnsName(prefix.substr(0, prefix.size() - 1)))) {
    problem.Report("vendor {}: annotationPrefix {} must be a domain and '/', like nvidia.com/", vendor.name, Quoted(prefix));
  }
  CheckNumber(vendor, "default count", vendor.default_count, 0, static_cast<std::int32_t>(device::kMaxDevicesOfNode), problem);
  CheckNumber(vendor, "default memory", vendor.default_mib, 0, std::numeric_limits<std::int32_t>::max(), problem);
  CheckNumber(vendor, "default cores", vendor.default_cores, 0, 100, problem);
  CheckNumber(vendor, "memory factor", vendor.memory_factor, 1, 1 << 20, problem);
}

// Names that only one vendor may hold, and hold once.
std::vector<std::string> Claims(const Vendor& vendor) {
  auto claims = vendor.Resources();
  for (const auto& annotation : {vendor.hami_register, vendor.hami_score, vendor.hami_to_allocate, vendor.hami_allocated}) {
    if (!annotation.empty()) claims.push_back(annotation);
  }
  return claims;
}

Result<> CheckAll(const std::vector<Vendor>& vendors) {
  Problem problem;
  std::map<std::string, std::string> claimed, names;
  for (const auto& vendor : vendors) {
    CheckVendor(vendor, problem);
    if (!names.emplace(vendor.name, vendor.name).second) problem.Report("two vendors have the name {}", vendor.name);
    for (const auto& claim : Claims(vendor)) {
      const auto [holder, added] = claimed.emplace(claim, vendor.name);
      if (!added) problem.Report("vendor {}: {} is already a name of vendor {}", vendor.name, claim, holder->second);
    }
  }
  if (problem.any()) return Fail(problem.error());
  return {};
}

}  // namespace

std::vector<std::string> Vendor::Resources() const {
  std::vector<std::string> names;
  for (const auto& name : {count_resource, memory_resource, percent_resource, cores_resource, priority_resource}) {
    if (!name.empty()) names.push_back(name);
  }
  return names;
}

bool Asks(const Vendor& vendor, const Quantities& limits, const Quantities& requests) {
  const auto given = [&](const std::string& name) { return limits.find(name) != limits.end() || requests.find(name) != requests.end(); };
  if (limits.empty() && requests.empty()) return false;
  if (given(vendor.count_resource)) {
    const auto limit = limits.find(vendor.count_resource);
    const auto& text = limit != limits.end() ? limit->second : requests.find(vendor.count_resource)->second;
    return text != "0" && ParseWholeQuantity(text).value_or(1) != 0;
  }
  return vendor.default_count > 0 && (given(vendor.memory_resource) || given(vendor.percent_resource) || given(vendor.cores_resource));
}

Catalog Catalog::Embedded() {
  auto catalog = FromYaml(EmbeddedDocuments());
  PARTAGE_CHECK(catalog.has_value(), "an embedded vendor definition is malformed");
  return *std::move(catalog);
}

Result<Catalog> Catalog::FromYaml(const std::vector<std::string>& documents) {
  Catalog catalog;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    auto vendor = ParseVendor(documents[i]);
    if (!vendor) return Fail(vendor.error(), fmt::format("vendor document {}", i + 1));
    catalog.vendors_.push_back(*std::move(vendor));
  }
  if (auto fine = CheckAll(catalog.vendors_); !fine) return Fail(fine.error());
  return catalog;
}

const Vendor* Catalog::Find(std::string_view name) const {
  const auto found = std::find_if(vendors_.begin(), vendors_.end(), [&](const Vendor& v) { return v.name == name; });
  return found == vendors_.end() ? nullptr : &*found;
}

Result<> Catalog::Replace(Vendor vendor) {
  auto changed = vendors_;
  const auto found = std::find_if(changed.begin(), changed.end(), [&](const Vendor& v) { return v.name == vendor.name; });
  if (found == changed.end()) return Fail(Code::kNotFound, "there is no vendor {}", Quoted(vendor.name));
  *found = std::move(vendor);
  if (auto fine = CheckAll(changed); !fine) return fine;
  vendors_ = std::move(changed);
  return {};
}

bool Catalog::Wants(const PodInput& pod) const {
  return std::any_of(pod.containers.begin(), pod.containers.end(), [&](const ContainerInput& container) {
    return std::any_of(vendors_.begin(), vendors_.end(), [&](const Vendor& v) { return Asks(v, container.limits, container.requests); });
  });
}

}  // namespace partage::vendors
