// SPDX-License-Identifier: Apache-2.0
// What partage-limits and partage-top have in common.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "shm/limits.h"

namespace CLI {
class App;
}

namespace partage::app {

/// Parses by the options added to `app` and --help, which is ours: a manual, not CLI11's list. kInvalid with CLI11's words.
Result<> ParseWords(CLI::App& app, std::vector<std::string> words, bool& help);

/// Reads a limits file once.
shm::Fault ReadLimitsFile(const std::string& file, shm::LimitsContent& content);

}  // namespace partage::app
