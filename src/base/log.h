// SPDX-License-Identifier: Apache-2.0
// Logging is spdlog's default logger: `partage::log::info("node {} has {} GPUs", name, n)`. Never on a per-request path above debug.
#pragma once

#include <string_view>

#include <spdlog/spdlog.h>

#include "base/result.h"

namespace partage::log {

using spdlog::critical;
using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::warn;

/// Sends the log to stderr with the given level (trace|debug|info|warn|error) and format (text|json).
/// Returns kInvalid for another word.
Result<> Configure(std::string_view level, std::string_view format);

}  // namespace partage::log
