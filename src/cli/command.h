// SPDX-License-Identifier: Apache-2.0
// A subcommand of partagectl is one file and one row in AllCommands.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace CLI {
class App;
}

namespace partage::cli {

/// Where partagectl finds the scheduler when it is not told.
inline constexpr const char* kDefaultExtender = "http://127.0.0.1:8780";
inline constexpr const char* kDefaultServer = "http://127.0.0.1:8781";

/// What a subcommand does: the exit code, or what went wrong.
using Run = std::function<Result<int>()>;

struct Command {
  const char* name;
  const char* summary;
  /// Adds the subcommand's options to `app`. The answer runs it after the arguments are parsed.
  Run (*add)(CLI::App& app);
};

Run AddSubmit(CLI::App& app);
Run AddState(CLI::App& app);
Run AddExplain(CLI::App& app);
Run AddDelete(CLI::App& app);
Run AddPolicies(CLI::App& app);
Run AddVendors(CLI::App& app);

const std::vector<Command>& AllCommands();

/// partagectl itself: parses, runs one subcommand, prints errors to standard error. The exit code.
int Main(int argc, char** argv);

}  // namespace partage::cli
