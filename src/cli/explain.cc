// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>

#include "cli/command.h"
#include "cli/http.h"
#include "cli/render.h"

namespace partage::cli {
namespace {

struct ExplainOptions {
  std::string server = kDefaultServer, pod;
  bool json = false;
};

Result<int> Explain(const ExplainOptions& options) {
  const auto body = GetBody(options.server, "/debug/explain?pod=" + EncodeParameter(options.pod), "explain");
  if (!body) return Fail(body.error());
  if (options.json) return std::puts(body->c_str()) < 0 ? 1 : 0;
  const auto text = RenderExplanation(*body, StdoutPainter());
  if (!text) return Fail(text.error());
  std::fputs(text->c_str(), stdout);
  return 0;
}

}  // namespace

Run AddExplain(CLI::App& app) {
  const auto options = std::make_shared<ExplainOptions>();
  app.add_option("pod", options->pod, "NAMESPACE/NAME")->required();
  app.add_option("--server", options->server, "The scheduler's metrics and state")->capture_default_str()->type_name("URL");
  app.add_flag("--json", options->json, "The explanation as the scheduler gives it");
  return [options] { return Explain(*options); };
}

}  // namespace partage::cli
