// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "main/scheduler_config.h"

namespace partage::app {

/// Applies a configuration file's text (YAML: the settings of docs/configuration.md and, by HAMi's names, one section a vendor) to `config`.
/// Returns what was understood and has no effect here, one line each, for the log.
///
/// kInvalid reads `file:line: key: what is wrong and what is right`: not YAML within the bounds of base/yaml.h, unknown or repeated key (the nearest known one
/// is suggested), wrong value. `config` is unchanged then.
Result<std::vector<std::string>> ApplyConfigText(std::string_view text, const std::string& file, SchedulerConfig& config);

/// The same for a file. kInvalid also when it cannot be read.
Result<std::vector<std::string>> ApplyConfigFile(const std::string& file, SchedulerConfig& config);

}  // namespace partage::app
