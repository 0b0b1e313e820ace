// SPDX-License-Identifier: Apache-2.0
#include "main/cluster_source.h"

#include "base/check.h"
#include "base/text_file.h"
#include "main/kube_source.h"
#include "main/sim_source.h"

namespace partage::app {
namespace {

Result<std::unique_ptr<ClusterSource>> FromSpecFile(const std::string& file, Feed feed) {
  const auto text = ReadTextFile(file);
  if (!text) return Fail(text.error(), "--cluster");
  auto spec = sim::ParseSimSpec(*text, file);
  if (!spec) return Fail(spec.error(), "--cluster");
  return MakeSimSource(*std::move(spec), file, std::move(feed));
}

}  // namespace

Result<k8s::ClientConfig> ApiServerOf(const ClusterSourceConfig& config) {
  const bool in_cluster = config.kind == ClusterSourceConfig::Kind::kInCluster;
  auto client = in_cluster ? k8s::InClusterConfig() : k8s::LoadKubeconfig(config.file);
  return client ? client : Fail(client.error(), in_cluster ? "--in-cluster" : "--kubeconfig");
}

Result<std::unique_ptr<ClusterSource>> MakeClusterSource(const ClusterSourceConfig& config, Feed feed) {
  using Kind = ClusterSourceConfig::Kind;
  PARTAGE_CHECK(config.kind != Kind::kNone, "the command line names a cluster");
  if (config.kind == Kind::kSimulated) return FromSpecFile(config.file, std::move(feed));
  auto client = ApiServerOf(config);
  if (!client) return Fail(client.error());
  client->request_timeout = config.request_timeout;
  return MakeKubeSource(*std::move(client), config.quotas, std::move(feed));
}

}  // namespace partage::app
