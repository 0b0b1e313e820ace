// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>

#include "cli/command.h"
#include "cli/http.h"

namespace partage::cli {
namespace {

struct DeleteOptions {
  std::string server = kDefaultServer, pod;
};

Result<int> Delete(const DeleteOptions& options) {
  auto server = HttpClient::Make(options.server);
  if (!server) return Fail(server.error());
  const auto deleted = BodyOf(server->Delete("/sim/pods?pod=" + EncodeParameter(options.pod)), "delete " + options.pod);
  if (!deleted) return Fail(deleted.error());
  std::printf("%s is gone\n", options.pod.c_str());
  return 0;
}

}  // namespace

Run AddDelete(CLI::App& app) {
  const auto options = std::make_shared<DeleteOptions>();
  app.add_option("--server", options->server, "The scheduler's metrics and state")->capture_default_str()->type_name("URL");
  app.add_option("POD", options->pod, "NAMESPACE/NAME")->required();
  return [options] { return Delete(*options); };
}

}  // namespace partage::cli
