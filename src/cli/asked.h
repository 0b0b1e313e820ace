// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace partage::cli {

/// What a pod (a JSON document) asks for, in short: "1 × 4 GiB, 20 %", "8 × card", "1 × 50 % memory". Containers are joined by " + ", init containers stand in
/// brackets. Quantities that are no numbers are shown as they are. The names are those of the vendors compiled in. REQUIRES: quantities are text. Throws
/// nlohmann's exception where the document is not shaped like a pod.
std::string AskedFor(std::string_view pod);

}  // namespace partage::cli
