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
  std::string name;  ///< "nvidia"
  std::string word;  ///< HAMi's common word, "NVIDIA"
  // Resource names as they stand in container limits; empty: the vendor has none.
  std::string count_resource, memory_resource, percent_resource, cores_resource, priority_resource;
  std::string annotation_prefix;  ///< of user annotations: "nvidia.com/"
  /// How this vendor's UUIDs look, an x for each hexadecimal digit: "GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx". Empty: not known. Nodes may publish others.
  std::vector<std::string> uuid_forms;
  // HAMi's annotation keys for this vendor.
  std::string hami_register, hami_score, hami_cordon, hami_to_allocate, hami_allocated;
  // Defaults, HAMi's meaning.
  std::int32_t default_count = 1;  ///< devices when only memory, percentage or cores are asked for; 0: such a container asks for none
  std::int32_t default_mib = 0;    ///< memory when none is asked for; 0: the whole card's
  std::int32_t default_cores = 0;  ///< compute when none is asked for (and the request is not exclusive by default)
  std::int32_t memory_factor = 1;  ///< one unit of memory_resource in MiB

  /// All resource names, in the order above, empty ones left out.
  std::vector<std::string> Resources() const;
  bool operator==(const Vendor&) const = default;
};

/// Extended-resource quantities of one container, as written ("3k", "16Gi"): name → text.
using Quantities = std::map<std::string, std::string, std::less<>>;

/// True when a container with these quantities asks the vendor for devices: its count is not zero; or it has none, names memory, percentage or
/// cores, and the vendor has a default count. A text that is no number asks. Cheap.
bool Asks(const Vendor& vendor, const Quantities& limits, const Quantities& requests);

/// One container as the request parser sees it.
struct ContainerInput {
  std::string name;
  device::ContainerKind kind = device::ContainerKind::kApp;
  Quantities limits, requests;  ///< limits win over requests
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

/// The definitions compiled into the binary, as they stand in charts/partage/vendors/*.yaml.
std::vector<std::string> EmbeddedDocuments();

/// One definition: kInvalid names the member and its value (unknown member, wrong type, out of bounds, no valid resource name). `examples` are for tests
/// and only checked to be a list.
Result<Vendor> ParseVendor(const std::string& document);

/// The vendors in force. Immutable after construction; thread-safe.
class Catalog {
 public:
  /// The definitions compiled into the binary. Aborts if they are malformed (a build-time fault, caught by tests).
  static Catalog Embedded();
  /// From YAML documents, one vendor each. kInvalid as ParseVendor; also two vendors with one name, resource or HAMi annotation.
  static Result<Catalog> FromYaml(const std::vector<std::string>& documents);

  const std::vector<Vendor>& vendors() const { return vendors_; }
  const Vendor* Find(std::string_view name) const;
  /// For --config: changes the names or defaults of the vendor with this name. Same checks as FromYaml; kNotFound when there is none. Unchanged on error.
  Result<> Replace(Vendor vendor);

  /// True when some container asks some vendor for devices (Asks). Cheap: the first question about every pod.
  bool Wants(const PodInput& pod) const;

  /// Any dialect in, one PodRequest out. Rules: docs/hami-differences.md.
  /// kInvalid when the user must change something; the message names resource or annotation, the value and the way out, e.g.
  /// `container main: nvidia.com/gpumem "16Gi" is not a number of MiB; did you mean 16384?`. A pod that wants nothing gives an empty request.
  Result<device::PodRequest> Parse(const PodInput& pod, const PolicyNames& policies) const;

 private:
  std::vector<Vendor> vendors_;
};

}  // namespace partage::vendors
