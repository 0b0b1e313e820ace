// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "main/scheduler_config.h"

namespace partage::app {

/// What the command line of partage-scheduler asks for.
struct CommandLine {
  enum class Action {
    kRun,
    kCheckConfig,  ///< say whether the configuration would work, and end
    kPrint,        ///< print `text` and end with `exit_code`: --help, --version, --list-policies, a usage error
  };
  Action action = Action::kRun;
  SchedulerConfig config;            ///< file first, flags over it
  std::vector<std::string> ignored;  ///< what the file says without effect
  std::string text;
  int exit_code = 0;
};

/// Reads arguments (without the program's name) and the file that --config names.
/// kInvalid when a value, the file or their combination is wrong; the message names the flag or file:line.
Result<CommandLine> ParseCommandLine(std::vector<std::string> arguments);

/// The table --list-policies prints.
std::string PolicyTable();

}  // namespace partage::app
