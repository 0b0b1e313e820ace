// SPDX-License-Identifier: Apache-2.0
// partage-scheduler: flags → wiring → run until SIGTERM or SIGINT.
#include <cstdio>
#include <cstdlib>

#include "base/log.h"
#include "main/command_line.h"
#include "main/scheduler_app.h"
#include "main/signals.h"

namespace {

using partage::app::CommandLine;
using partage::app::SchedulerApp;
namespace log = partage::log;

int Complain(const partage::Error& error) {
  std::fprintf(stderr, "partage-scheduler: %s\n", error.message.c_str());
  return EXIT_FAILURE;
}

int CheckConfig(CommandLine line) {
  for (const std::string& ignored : line.ignored) std::printf("without effect: %s\n", ignored.c_str());
  if (line.config.source.kind != partage::app::ClusterSourceConfig::Kind::kNone) {
    if (auto app = SchedulerApp::Make(std::move(line.config)); !app) return Complain(app.error());
  }
  std::puts("the configuration is valid");
  return EXIT_SUCCESS;
}

int Run(CommandLine line) {
  partage::app::StopSignals signals;
  if (auto set = log::Configure(line.config.log_level, line.config.log_format); !set) return Complain(set.error());
  for (const std::string& ignored : line.ignored) log::info("configuration without effect: {}", ignored);
  auto app = SchedulerApp::Make(std::move(line.config));
  if (!app) return Complain(app.error());
  if (auto started = (*app)->Start(); !started) return Complain(started.error());
  log::info("{}: stopping", signals.Wait());
  (*app)->Stop();
  log::info("stopped");
  return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
  auto line = partage::app::ParseCommandLine({argv + 1, argv + argc});
  if (!line) return Complain(line.error());
  switch (line->action) {
    case CommandLine::Action::kPrint: std::fputs(line->text.c_str(), line->exit_code == 0 ? stdout : stderr); return line->exit_code;
    case CommandLine::Action::kCheckConfig: return CheckConfig(*std::move(line));
    case CommandLine::Action::kRun: return Run(*std::move(line));
  }
  return EXIT_FAILURE;
}
