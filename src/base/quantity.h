// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace partage {

/// Reads a Kubernetes resource quantity that must be a whole number: "3000", "3k", "1e3", "16Gi" (= 17179869184), "2000m" (= 2).
///
/// Grammar: k8s.io/apimachinery/pkg/api/resource, `<sign>number<suffix>` with suffixes n u m k M G T P E, Ki Mi Gi Ti Pi Ei, e/E exponent.
/// kInvalid when the text is not a quantity, is not whole ("0.5", "500m"), or does not fit in int64. Signs are accepted: the caller
/// decides whether a negative value makes sense.
Result<std::int64_t> ParseWholeQuantity(std::string_view text);

}  // namespace partage
