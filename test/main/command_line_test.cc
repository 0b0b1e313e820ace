// SPDX-License-Identifier: Apache-2.0
#include "main/command_line.h"

#include <catch2/catch.hpp>

#include "test/support/temp_folder.h"

namespace partage::app {
namespace {

using Action = CommandLine::Action;
using Kind = ClusterSourceConfig::Kind;

CommandLine Parse(std::vector<std::string> arguments) {
  auto line = ParseCommandLine(std::move(arguments));
  INFO((line ? "" : line.error().message));
  REQUIRE(line.has_value());
  return *std::move(line);
}

std::string Complaint(std::vector<std::string> arguments) {
  const auto line = ParseCommandLine(std::move(arguments));
  REQUIRE_FALSE(line.has_value());
  CHECK(line.error().code == Code::kInvalid);
  return line.error().message;
}

TEST_CASE("The cluster is named in one of three ways") {
  CHECK(Parse({"--in-cluster"}).config.source.kind == Kind::kInCluster);
  const auto kubeconfig = Parse({"--kubeconfig", "k.yaml"}).config.source;
  CHECK(kubeconfig.kind == Kind::kKubeconfig);
  CHECK(kubeconfig.file == "k.yaml");
  const auto simulated = Parse({"--cluster", "sim:c.yaml"}).config.source;
  CHECK(simulated.kind == Kind::kSimulated);
  CHECK(simulated.file == "c.yaml");
}

TEST_CASE("No cluster, two clusters, or a cluster of another kind is refused") {
  CHECK(Complaint({}) == "which cluster? Give --kubeconfig FILE, --in-cluster, or --cluster sim:FILE (see --help)");
  CHECK(Complaint({"--in-cluster", "--kubeconfig", "k"}) == "--kubeconfig, --in-cluster and --cluster name different clusters: give one");
  CHECK(Complaint({"--cluster", "c.yaml"}) == "--cluster: \"c.yaml\" is not of the form sim:FILE");
}

TEST_CASE("Flags win over the file") {
  const test::TempFolder folder;
  const std::string file = folder.Write("config.yaml", "logLevel: warn\nnodePolicy: spread\n");
  const auto config = Parse({"--in-cluster", "--config", file, "--log-level", "debug"}).config;
  CHECK(config.log_level == "debug");
  CHECK(config.engine.node_policy == "spread");
}

TEST_CASE("Every flag of the table takes its value") {
  const auto config =
      Parse({"--in-cluster", "--listen", "127.0.0.1:0", "--metrics-listen", ":9395", "--node-policy", "spread", "--device-policies",
             "numa,binpack", "--shortlist", "8", "--bind-workers", "3", "--log-level", "error", "--log-format", "json"})
          .config;
  CHECK(config.listen.port == 0);
  CHECK(config.metrics_listen.port == 9395);
  CHECK(config.engine.node_policy == "spread");
  CHECK(config.engine.device_policies == std::vector<std::string>{"numa", "binpack"});
  CHECK_FALSE(config.engine.shortlist.automatic);
  CHECK(config.engine.shortlist.k == 8);
  CHECK(config.binder.workers == 3);
  CHECK(config.log_level == "error");
  CHECK(config.log_format == "json");
}

TEST_CASE("A wrong value names its flag") {
  CHECK(Complaint({"--in-cluster", "--bind-workers", "0"}) == "--bind-workers: 0 is out of range; use 1 to 1024");
  CHECK(Complaint({"--in-cluster", "--shortlist", "many"}).find("--shortlist: ") == 0);
}

TEST_CASE("The extender listens beyond loopback only when told so in plain words") {
  CHECK(Complaint({"--in-cluster", "--listen", "0.0.0.0:80"}).find("--insecure-listen-beyond-loopback") != std::string::npos);
  CHECK(Complaint({"--in-cluster", "--listen", ":80"}).find("whoever reaches the extender can bind pods") != std::string::npos);
  CHECK(Parse({"--in-cluster", "--listen", "0.0.0.0:80", "--insecure-listen-beyond-loopback"}).config.listen.port == 80);
  for (const char* loopback : {"127.0.0.1:80", "127.8.0.1:80", "[::1]:80", "localhost:80"}) {
    CHECK(Parse({"--in-cluster", "--listen", loopback}).config.listen.port == 80);
  }
}

TEST_CASE("Beyond loopback the extender is reached with client certificates, by TLS alone it is not") {
  const std::vector<std::string> open = {"--in-cluster", "--listen", "0.0.0.0:80", "--tls-cert-file", "c", "--tls-key-file", "k"};
  CHECK(Complaint(open).find("--tls-client-ca-file") != std::string::npos);
  auto mutual = open;
  mutual.insert(mutual.end(), {"--tls-client-ca-file", "ca"});
  const auto config = Parse(mutual).config;
  CHECK(config.tls.certificate == "c");
  CHECK(config.tls.key == "k");
  CHECK(config.tls.client_ca == "ca");
}

TEST_CASE("Files of TLS are given together or not at all") {
  CHECK(Complaint({"--in-cluster", "--tls-cert-file", "c"}) ==
        "tlsCertFile and tlsKeyFile belong together: give both, or none for plain HTTP");
  CHECK(Complaint({"--in-cluster", "--webhook-tls-key-file", "k"}).find("webhookTlsCertFile") == 0);
  CHECK(Complaint({"--in-cluster", "--tls-client-ca-file", "ca"}).find("tlsClientCaFile") == 0);
  CHECK(Complaint({"--in-cluster", "--webhook-tls-names", "a"}).find("webhookTlsNames needs an authority") == 0);
  CHECK(Complaint({"--in-cluster", "--webhook-tls-cert-file", "c", "--webhook-tls-key-file", "k"}).find("webhookListen") !=
        std::string::npos);
}

TEST_CASE("There is a webhook only where one is asked for, and beyond loopback only with a certificate") {
  CHECK_FALSE(Parse({"--in-cluster"}).config.webhook_listen.has_value());
  CHECK(Parse({"--in-cluster", "--webhook-listen", "127.0.0.1:8443"}).config.webhook_listen->port == 8443);
  CHECK(Complaint({"--in-cluster", "--webhook-listen", ":8443"}).find("--webhook-tls-cert-file") != std::string::npos);
  CHECK(Complaint({"--in-cluster", "--webhook-listen", "nowhere"}).find("--webhook-listen: ") == 0);
  CHECK(Parse({"--in-cluster", "--webhook-listen", ":8443", "--insecure-listen-beyond-loopback"}).config.webhook_listen->host == "");
  const auto config = Parse({"--in-cluster", "--webhook-listen", ":8443", "--webhook-tls-cert-file", "c", "--webhook-tls-key-file", "k",
                             "--webhook-scheduler-name", "gpu"})
                          .config;
  CHECK(config.webhook_tls.on());
  CHECK(config.admission.scheduler_name == "gpu");
}

TEST_CASE("Leader election needs a real cluster, leases with namespace and name, and times that leave room for writes") {
  const auto with = [](std::vector<std::string> more) {
    more.insert(more.begin(), {"--in-cluster", "--leader-election", "elect"});
    return more;
  };
  CHECK(Parse(with({})).config.leader_election.on());
  CHECK(Complaint({"--cluster", "sim:x", "--leader-election", "follow"}).find("leaderElection: a simulated cluster") == 0);
  CHECK(Complaint(with({"--lease-duration", "10s"})).find("leaseDuration 10000 ms is not more than renewDeadline") == 0);
  CHECK(Complaint(with({"--retry-period", "9s"})).find("retryPeriod") != std::string::npos);
  for (const char* wrong : {"x", "a/b/c", "/b", "a/", "A/b", "a/..%2f"}) CHECK(Complaint(with({"--lease", wrong})).find("--lease: ") == 0);
  CHECK(Parse({"--in-cluster", "--lease-duration", "1s"}).config.leader_election.shape == "none");
}

TEST_CASE("A configuration can be checked without naming a cluster") {
  const test::TempFolder folder;
  const std::string file = folder.Write("config.yaml", "nvidia:\n  overwriteEnv: true\n");
  const auto line = Parse({"--check-config", "--config", file});
  CHECK(line.action == Action::kCheckConfig);
  CHECK(line.ignored == std::vector<std::string>{"nvidia.overwriteEnv (admission's)"});
}

TEST_CASE("Help, version and policies are printed without a cluster") {
  CHECK(Parse({"--version"}).text.find("partage-scheduler ") == 0);
  const auto help = Parse({"--help"});
  CHECK(help.exit_code == 0);
  for (const auto& setting : SchedulerSettings()) CHECK(help.text.find(setting.flag) != std::string::npos);
  const auto policies = Parse({"--list-policies"});
  CHECK(policies.action == Action::kPrint);
  CHECK(policies.text.find("binpack") == 0);
}

TEST_CASE("An unknown flag prints a usage error") {
  const auto line = Parse({"--kubeconfg", "k"});
  CHECK(line.action == Action::kPrint);
  CHECK(line.exit_code != 0);
  CHECK(line.text.find("--kubeconfg") != std::string::npos);
}

}  // namespace
}  // namespace partage::app
