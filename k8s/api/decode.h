// SPDX-License-Identifier: Apache-2.0
// JSON documents → the structs of this folder, by simdjson, reading only the fields kept. Pure, thread-safe; no function throws.
#pragma once

#include <simdjson.h>

#include "base/result.h"
#include "k8s/api/node.h"
#include "k8s/api/pod.h"
#include "k8s/api/resource_quota.h"

namespace partage::k8s {

/// kInvalid names the member with the wrong type. Absent members are empty; null counts as absent. metadata.name is required.
Result<Pod> DecodePod(simdjson::dom::element object);
Result<Node> DecodeNode(simdjson::dom::element object);
Result<ResourceQuota> DecodeResourceQuota(simdjson::dom::element object);
/// A Pod that is about to be created: it may have no name yet (metadata.generateName).
Result<Pod> DecodeNewPod(simdjson::dom::element object);

/// Same, from text (copied into a padded buffer): tests, small bodies.
Result<Pod> DecodePodText(std::string_view json);
Result<Node> DecodeNodeText(std::string_view json);
Result<ResourceQuota> DecodeResourceQuotaText(std::string_view json);

}  // namespace partage::k8s
