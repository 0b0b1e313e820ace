// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "cli/command.h"
#include "cli/text_table.h"
#include "scheduler/framework/policy.h"

namespace partage::cli {
namespace {

Cell Mark(bool is) { return is ? Cell{"yes", Tone::kGood} : Cell{"-", Tone::kDim}; }

}  // namespace

Run AddPolicies(CLI::App&) {
  return []() -> Result<int> {
    TextTable table({"POLICY", "NODES", "DEVICES", "SUMMARY"});
    for (const auto& [name, spec] : scheduler::PolicyRegistry::All()) {
      table.Add({{std::string(name), Tone::kStrong}, Mark(spec.for_nodes), Mark(spec.for_devices), {std::string(spec.summary)}});
    }
    std::fputs(table.Render(StdoutPainter()).c_str(), stdout);
    return 0;
  };
}

}  // namespace partage::cli
