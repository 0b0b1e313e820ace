// SPDX-License-Identifier: Apache-2.0
// Vendors are data: one YAML file each (charts/partage/vendors/*.yaml), compiled into the binary and used by chart, tests and docs alike.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "device/request.h"

namespace partage::vendors {

/// One vendor's names and defaults. Immutable after loading.
struct Vendor {
  std::string name;    ///< "nvidia"
  std::string word;    ///< HAMi's common word, "NVIDIA"
  // Resource names as they stand in container limits; empty: the vendor has none.
  std::string count_resource, memory_resource, percent_resource, cores_resource, priority_resource;
  std::string annotation_prefix;   ///< of user annotations: "nvidia.com/"
  // HAMi's annotation keys for this vendor.
  std::string hami_register, hami_score, hami_cordon, hami_to_allocate, hami_allocated;
  // Defaults, HAMi's meaning.
  std::int32_t default_count = 1;     ///< devices when only memory, percentage or cores are asked for; 0: such a container asks for none
  std::int32_t default_mib = 0;       ///< memory when none is asked for; 0: the whole card's
  std::int32_t default_cores = 0;     ///< compute when none is asked for (and the request is not exclusive by default)
  std::int32_t memory_factor = 1;     ///< one unit of memory_resource in MiB

  /// All resource names, in the order above, empty ones left out.
  std::vector<std::string> Resources() const;
};

/// Extended-resource quantities of one container, as written ("3k", "16Gi"): name → text.
using Quantities = std::map<std::string, std::string, std::less<>>;

/// One container as the request parser sees it.
struct ContainerInput {
  std::string name;
  device::ContainerKind kind = device::ContainerKind::kApp;
  Quantities limits, requests;   ///< limits win over requests
};

/// A pod as the request parser sees it: its containers in spec order (init first) and its annotations.
struct PodInput {
  std::vector<ContainerInput> containers;
  std::map<std::string, std::string, std::less<>> annotations;
};

/// Names accepted in policy annotations; filled from the policy registry so that vendors need not know policies.
struct PolicyNames {
  std::vector<std::string> node, device;
};

/// The vendors in force. Immutable after construction; thread-safe.
class Catalog {
 public:
  /// The definitions compiled into the binary. Aborts if they are malformed (a build-time fault, caught by tests).
  static Catalog Embedded();
  /// From YAML documents, one vendor each. kInvalid names file member and value: unknown member, missing name, a resource name that
  /// two vendors claim or that is no valid extended-resource name.
  static Result<Catalog> FromYaml(const std::vector<std::string>& documents);

  const std::vector<Vendor>& vendors() const { return vendors_; }
  const Vendor* Find(std::string_view name) const;
  /// For --config: changes one vendor's names or defaults. Same checks as FromYaml.
  Result<> Replace(Vendor vendor);

  /// True when some container names a resource of ours with a quantity that is not zero. Cheap: the first question about every pod.
  bool Wants(const PodInput& pod) const;

  /// Any dialect in, one PodRequest out. Rules: docs/hami-differences.md.
  /// kInvalid when the user must change something; the message names resource or annotation, the value and the way out, e.g.
  /// `container main: nvidia.com/gpumem "16Gi" is not a number of MiB; did you mean 16384?`. A pod that wants nothing gives an empty request.
  Result<device::PodRequest> Parse(const PodInput& pod, const PolicyNames& policies) const;

 private:
  std::vector<Vendor> vendors_;
};

}  // namespace partage::vendors
