// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/result.h"

namespace partage {

/// The text of a file written by people: configuration, manifests.
/// kNotFound when there is none; kInvalid when it is a folder, cannot be read, or is over `max_bytes`. The message names the file.
Result<std::string> ReadTextFile(const std::string& path, std::size_t max_bytes = 16u << 20);

}  // namespace partage
