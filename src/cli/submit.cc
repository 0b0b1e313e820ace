// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <memory>

#include <CLI/CLI.hpp>

#include "base/text.h"
#include "base/text_file.h"
#include "cli/command.h"
#include "cli/render.h"

namespace partage::cli {
namespace {

struct SubmitOptions {
  std::string extender = kDefaultExtender, server = kDefaultServer, nodes;
  int repeat = 1;
  std::vector<std::string> files;
};

Result<ClusterState> FetchState(HttpClient& server, const std::string& query) {
  const auto body = BodyOf(server.Get("/debug/state" + query), "state");
  if (!body) return Fail(body.error());
  return ParseState(*body);
}

/// All nodes, as kube-scheduler would name them when nothing but the devices decides.
Result<std::vector<std::string>> Candidates(const SubmitOptions& options, HttpClient& server) {
  if (!options.nodes.empty()) return SplitList(options.nodes);
  const auto state = FetchState(server, "?pods=false");
  if (!state) return Fail(state.error());
  std::vector<std::string> names;
  for (const NodeState& node : state->nodes) names.push_back(node.name);
  return names;
}

Result<std::vector<ManifestPod>> ReadPods(const SubmitOptions& options) {
  std::vector<ManifestPod> pods;
  for (const std::string& file : options.files) {
    const auto text = ReadTextFile(file == "-" ? "/dev/stdin" : file);
    if (!text) return Fail(text.error());
    auto parsed = ParseManifests(*text, file, options.repeat);
    if (!parsed) return Fail(parsed.error());
    std::move(parsed->begin(), parsed->end(), std::back_inserter(pods));
  }
  return pods;
}

Result<std::vector<Submission>> ScheduleAll(HttpClient& extender, std::vector<ManifestPod> pods,
                                            const std::vector<std::string>& candidates) {
  std::vector<Submission> submissions;
  for (ManifestPod& pod : pods) {
    auto outcome = Schedule(extender, pod, candidates);
    if (!outcome) return Fail(outcome.error(), pod.ns + "/" + pod.name);
    submissions.push_back({std::move(pod), *std::move(outcome)});
  }
  return submissions;
}

Result<int> Submit(const SubmitOptions& options) {
  auto pods = ReadPods(options);
  if (!pods) return Fail(pods.error());
  auto extender = HttpClient::Make(options.extender), server = HttpClient::Make(options.server);
  if (!extender) return Fail(extender.error());
  if (!server) return Fail(server.error());
  const auto candidates = Candidates(options, *server);
  if (!candidates) return Fail(candidates.error());
  const auto submissions = ScheduleAll(*extender, *std::move(pods), *candidates);
  if (!submissions) return Fail(submissions.error());
  const auto state = FetchState(*server, "");
  if (!state) return Fail(state.error());
  std::fputs(RenderSubmissions(*submissions, *state, StdoutPainter()).c_str(), stdout);
  const auto bound = [](const Submission& submission) { return !submission.outcome.node.empty(); };
  return std::all_of(submissions->begin(), submissions->end(), bound) ? 0 : 1;
}

}  // namespace

Run AddSubmit(CLI::App& app) {
  const auto options = std::make_shared<SubmitOptions>();
  app.footer("Ends with 0 when every pod was bound, 1 when one was refused, 2 when the extender could not be asked.");
  app.add_option("--extender", options->extender, "The extender")->capture_default_str()->type_name("URL");
  app.add_option("--server", options->server, "The scheduler's metrics and state")->capture_default_str()->type_name("URL");
  app.add_option("--nodes", options->nodes, "Candidates, comma-separated; all nodes when not given")->type_name("NAMES");
  app.add_option("--repeat", options->repeat, "Submit each pod this many times, numbered")->check(CLI::Range(1, 1'000'000))->type_name("N");
  app.add_option("FILE", options->files, "Pod manifests in YAML; - reads standard input")->required();
  return [options] { return Submit(*options); };
}

}  // namespace partage::cli
