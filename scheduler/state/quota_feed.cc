// SPDX-License-Identifier: Apache-2.0
#include "scheduler/state/quota_feed.h"

#include <array>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/quantity.h"
#include "base/text.h"

namespace partage::scheduler {
namespace {

using vendors::Vendor;

constexpr std::int64_t kMiB = 1 << 20;
constexpr std::int64_t kMostUnits = std::numeric_limits<std::int32_t>::max();

// The API server writes 2000000 as 2M, so of the suffixes only the binary ones give away that bytes were meant; and nobody has millions of GPUs.
bool IsBytes(std::string_view text, std::int64_t value) { return text.ends_with('i') || value > kMostUnits; }

Result<std::int64_t> ReadAmount(std::string_view key, const std::string& text) {
  const auto amount = ParseWholeQuantity(text);
  if (!amount) return Fail(Code::kInvalid, "{} {}; give a whole number", key, amount.error().message);
  if (*amount < 0) return Fail(Code::kInvalid, "{} {} is negative; 0 allows none", key, Quoted(text));
  return *amount;
}

Result<std::int64_t> ReadMemory(const Vendor& vendor, std::string_view key, const std::string& text) {
  const auto amount = ReadAmount(key, text);
  if (!amount || !IsBytes(text, *amount)) return amount ? Result<std::int64_t>(*amount * vendor.memory_factor) : amount;
  const auto unit = vendor.memory_factor == 1 ? std::string("MiB") : fmt::format("units of {} MiB", vendor.memory_factor);
  return Fail(Code::kInvalid, "{} {} is not a number of {}; did you mean {}?", key, Quoted(text), unit,
              std::max<std::int64_t>(1, *amount / kMiB / vendor.memory_factor));
}

/// Reads the vendor's limit under `resource`, when there is one.
void ReadLimit(const k8s::ResourceQuota& quota, const Vendor& vendor, QuotaLimit::Of of, const std::string& resource,
               QuotaObservation& into) {
  if (resource.empty()) return;
  const auto found = quota.hard.find("limits." + resource);
  if (found == quota.hard.end()) return;
  const auto& [key, text] = *found;
  const auto most = of == QuotaLimit::Of::kMemory ? ReadMemory(vendor, key, text) : ReadAmount(key, text);
  if (most) {
    into.limits.push_back({key, vendor.name, of, *most});
  } else if (into.error.empty()) {
    into.error = most.error().message;
  }
}

struct ScopeName {
  std::string_view name;
  QuotaScope::Trait trait;
  bool negated;
};
constexpr std::array kScopeNames = {
    ScopeName{"Terminating", QuotaScope::Trait::kTerminating, false},
    ScopeName{"NotTerminating", QuotaScope::Trait::kTerminating, true},
    ScopeName{"BestEffort", QuotaScope::Trait::kBestEffort, false},
    ScopeName{"NotBestEffort", QuotaScope::Trait::kBestEffort, true},
    ScopeName{"CrossNamespacePodAffinity", QuotaScope::Trait::kCrossNamespaceAffinity, false},
    ScopeName{"PriorityClass", QuotaScope::Trait::kPriorityClass, false},
};

Result<QuotaScope> ReadScope(const k8s::ScopeRequirement& requirement) {
  for (const auto& known : kScopeNames) {
    if (known.name != requirement.scope) continue;
    const bool lists = requirement.op == "In" || requirement.op == "NotIn";
    const bool negates = requirement.op == "NotIn" || requirement.op == "DoesNotExist";
    if (!lists && !negates && requirement.op != "Exists") break;
    return QuotaScope{known.trait, known.negated != negates, lists ? requirement.values : std::vector<std::string>()};
  }
  return Fail(Code::kInvalid, "scope {} with operator {} is unknown to this version of Partage", Quoted(requirement.scope),
              Quoted(requirement.op));
}

}  // namespace

QuotaObservation Observe(const k8s::ResourceQuota& quota, const vendors::Catalog& vendors) {
  QuotaObservation seen;
  seen.ns = quota.ns;
  seen.name = quota.name;
  seen.resource_version = quota.resource_version;
  for (const auto& vendor : vendors.vendors()) {
    ReadLimit(quota, vendor, QuotaLimit::Of::kMemory, vendor.memory_resource, seen);
    ReadLimit(quota, vendor, QuotaLimit::Of::kCores, vendor.cores_resource, seen);
  }
  if (seen.limits.empty() && seen.error.empty()) return seen;
  for (const auto& requirement : quota.scopes) {
    if (auto scope = ReadScope(requirement)) {
      seen.scopes.push_back(*std::move(scope));
    } else if (seen.error.empty()) {
      seen.error = scope.error().message;
    }
  }
  return seen;
}

device::QuotaTraits QuotaTraitsOf(const k8s::Pod& pod) {
  return {.terminating = pod.has_deadline,
          .best_effort = pod.best_effort,
          .cross_namespace_affinity = pod.cross_namespace_affinity,
          .priority_class = pod.priority_class};
}

}  // namespace partage::scheduler
