// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace partage::scheduler {

/// Appends `text` as a JSON string, quotes included. Always valid JSON: control characters are escaped, and where `text` is not UTF-8 its bytes
/// beyond ASCII become U+FFFD. Thread-safe.
void AppendJsonString(std::string& out, std::string_view text);

}  // namespace partage::scheduler
