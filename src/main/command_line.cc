// SPDX-License-Identifier: Apache-2.0
#include "main/command_line.h"

#include <algorithm>
#include <sstream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/text.h"
#include "main/config_file.h"
#include "scheduler/framework/policy.h"

namespace partage::app {
namespace {

using Kind = ClusterSourceConfig::Kind;

/// The flags as given, before they meet the file.
struct Flags {
  std::string config, kubeconfig, cluster;
  bool in_cluster = false, check_config = false, list_policies = false, beyond_loopback = false;
  std::vector<std::pair<const Setting<SchedulerConfig>*, std::string>> settings;
};

void AddFlags(CLI::App& app, Flags& flags) {
  app.add_option("--kubeconfig", flags.kubeconfig, "Schedule for the cluster this kubeconfig names")->type_name("FILE");
  app.add_flag("--in-cluster", flags.in_cluster, "Schedule for the cluster this pod runs in");
  app.add_option("--cluster", flags.cluster, "Schedule for a simulated cluster described by a file; no Kubernetes needed")
      ->type_name("sim:FILE");
  app.add_option("--config", flags.config, "Settings in YAML; HAMi's device configuration is understood")->type_name("FILE");
  app.add_flag("--check-config", flags.check_config, "Say whether the configuration would work, and end");
  app.add_flag("--list-policies", flags.list_policies, "List the placement policies, and end");
  app.add_flag("--insecure-listen-beyond-loopback", flags.beyond_loopback,
               "Let other machines reach extender and webhook without TLS: whoever reaches the extender can bind pods");
  for (const auto& setting : SchedulerSettings()) {
    if (setting.flag.empty()) continue;
    const auto remember = [&flags, &setting](const std::string& text) { flags.settings.emplace_back(&setting, text); };
    app.add_option_function<std::string>(std::string(setting.flag), remember, std::string(setting.help))->type_name(setting.type);
  }
}

Result<ClusterSourceConfig> Source(const Flags& flags) {
  const int given = int(!flags.kubeconfig.empty()) + int(flags.in_cluster) + int(!flags.cluster.empty());
  if (given > 1) return Fail(Code::kInvalid, "--kubeconfig, --in-cluster and --cluster name different clusters: give one");
  if (flags.in_cluster) return ClusterSourceConfig{Kind::kInCluster, ""};
  if (!flags.kubeconfig.empty()) return ClusterSourceConfig{Kind::kKubeconfig, flags.kubeconfig};
  if (flags.cluster.empty()) return ClusterSourceConfig{};
  constexpr std::string_view kPrefix = "sim:";
  if (!flags.cluster.starts_with(kPrefix) || flags.cluster.size() == kPrefix.size()) {
    return Fail(Code::kInvalid, "--cluster: {} is not of the form sim:FILE", Quoted(flags.cluster));
  }
  return ClusterSourceConfig{Kind::kSimulated, flags.cluster.substr(kPrefix.size())};
}

Result<> ApplyFlags(const Flags& flags, SchedulerConfig& config) {
  auto source = Source(flags);
  if (!source) return Fail(source.error());
  config.source = *std::move(source);
  config.listen_beyond_loopback = flags.beyond_loopback;
  for (const auto& [setting, text] : flags.settings) {
    if (auto set = setting->set(config, text); !set) return Fail(set.error(), setting->flag);
  }
  return Validate(config);
}

CommandLine Print(std::string text, int exit_code = 0) {
  CommandLine line;
  line.action = CommandLine::Action::kPrint;
  line.text = std::move(text);
  line.exit_code = exit_code;
  return line;
}

/// CLI11 reports --help, --version and usage errors by throwing; its own words are the answer.
CommandLine PrintParserAnswer(const CLI::App& app, const CLI::ParseError& answer) {
  std::ostringstream out;
  const int exit_code = app.exit(answer, out, out);
  return Print(out.str(), exit_code);
}

Result<CommandLine> Assemble(const Flags& flags) {
  if (flags.list_policies) return Print(PolicyTable());
  CommandLine line;
  if (!flags.config.empty()) {
    auto ignored = ApplyConfigFile(flags.config, line.config);
    if (!ignored) return Fail(ignored.error());
    line.ignored = *std::move(ignored);
  }
  if (auto applied = ApplyFlags(flags, line.config); !applied) return Fail(applied.error());
  line.action = flags.check_config ? CommandLine::Action::kCheckConfig : CommandLine::Action::kRun;
  if (line.action == CommandLine::Action::kRun && line.config.source.kind == Kind::kNone) {
    return Fail(Code::kInvalid, "which cluster? Give --kubeconfig FILE, --in-cluster, or --cluster sim:FILE (see --help)");
  }
  return line;
}

std::string_view KindOf(const scheduler::PolicySpec& spec) {
  if (spec.for_nodes && spec.for_devices) return "node, device";
  return spec.for_nodes ? "node" : "device";
}

}  // namespace

Result<CommandLine> ParseCommandLine(std::vector<std::string> arguments) {
  CLI::App app{"Partage's scheduler: a kube-scheduler extender that shares GPUs by the MiB and by the percent.", "partage-scheduler"};
  app.set_version_flag("--version", "partage-scheduler " PARTAGE_VERSION);
  Flags flags;
  AddFlags(app, flags);
  try {
    std::reverse(arguments.begin(), arguments.end());  // the order CLI11 takes them in
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& answer) {
    return PrintParserAnswer(app, answer);
  }
  return Assemble(flags);
}

std::string PolicyTable() {
  std::string table;
  for (const auto& [name, spec] : scheduler::PolicyRegistry::All()) {
    table += fmt::format("{:<16} {:<13} {}\n", name, KindOf(spec), spec.summary);
  }
  return table;
}

}  // namespace partage::app
