// SPDX-License-Identifier: Apache-2.0
#include "cli/command.h"

#include <cstdio>

#include <CLI/CLI.hpp>

namespace partage::cli {

const std::vector<Command>& AllCommands() {
  static const std::vector<Command> commands = {
      {"state", "Nodes, devices and who holds what of them", &AddState},
      {"explain", "Why a pod waits, or why it is where it is", &AddExplain},
      {"submit", "Send pods to an extender as kube-scheduler would", &AddSubmit},
      {"delete", "Delete a pod of a simulated cluster", &AddDelete},
      {"policies", "The placement policies", &AddPolicies},
      {"vendors", "The vendors and their resource names", &AddVendors},
  };
  return commands;
}

int Main(int argc, char** argv) {
  CLI::App app{"Looks into Partage, and tries pods on it.", "partagectl"};
  app.set_version_flag("--version", "partagectl " PARTAGE_VERSION);
  app.require_subcommand(1);
  Run run;
  for (const Command& command : AllCommands()) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    sub->callback([&run, chosen = command.add(*sub)] { run = chosen; });
  }
  CLI11_PARSE(app, argc, argv);
  const Result<int> exit_code = run();
  if (exit_code) return *exit_code;
  std::fprintf(stderr, "partagectl: %s\n", exit_code.error().message.c_str());
  return 2;
}

}  // namespace partage::cli
