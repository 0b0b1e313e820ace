// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>

#include "cli/command.h"
#include "cli/render.h"

namespace partage::cli {
namespace {

struct StateOptions {
  std::string server = kDefaultServer, node;
  bool json = false;
};

Result<int> ShowState(const StateOptions& options) {
  const std::string query = options.node.empty() ? "" : "?node=" + EncodeParameter(options.node);
  const auto body = GetBody(options.server, "/debug/state" + query, "state");
  if (!body) return Fail(body.error());
  if (options.json) return std::puts(body->c_str()) < 0 ? 1 : 0;
  const auto state = ParseState(*body);
  if (!state) return Fail(state.error());
  std::fputs(RenderState(*state, StdoutPainter()).c_str(), stdout);
  return 0;
}

}  // namespace

Run AddState(CLI::App& app) {
  const auto options = std::make_shared<StateOptions>();
  app.add_option("--server", options->server, "The scheduler's metrics and state")->capture_default_str()->type_name("URL");
  app.add_option("--node", options->node, "Only this node")->type_name("NAME");
  app.add_flag("--json", options->json, "The state as the scheduler gives it");
  return [options] { return ShowState(*options); };
}

}  // namespace partage::cli
