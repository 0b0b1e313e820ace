// SPDX-License-Identifier: Apache-2.0
#include "main/kube_source.h"

#include <atomic>
#include <utility>

#include "base/mutex.h"
#include "k8s/informer/reflector.h"
#include "main/watch_sinks.h"

namespace partage::app {
namespace {

k8s::ReflectorOptions NodeOptions() {
  k8s::ReflectorOptions options;
  options.path = "/api/v1/nodes";
  return options;
}

/// Finished pods hold nothing: leaving the set is how the watch says that one has ended.
k8s::ReflectorOptions PodOptions() {
  k8s::ReflectorOptions options;
  options.path = "/api/v1/pods";
  options.query = "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed";
  return options;
}

k8s::ReflectorOptions QuotaOptions() {
  k8s::ReflectorOptions options;
  options.path = "/api/v1/resourcequotas";
  return options;
}

class KubeSource final : public ClusterSource {
 public:
  KubeSource(std::unique_ptr<k8s::Client> client, bool quotas, Feed feed)
      : client_(std::move(client)),
        clock_(feed.clock),
        reads_quotas_(quotas),
        api_(scheduler::MakeKubeClusterApi(*client_)),
        node_sink_(feed.engine.cluster(), feed.vendors, [this] { StartPods(); }),
        pod_sink_(feed.engine, feed.vendors, std::move(feed.on_synced)),
        quota_sink_(feed.engine.cluster(), feed.vendors) {}

  ~KubeSource() override { Stop(); }

  scheduler::ClusterApi& api() override { return *api_; }
  std::string name() const override { return client_->server(); }
  void Start() override {
    if (reads_quotas_) quotas_ = std::make_unique<k8s::Reflector<k8s::ResourceQuota>>(*client_, QuotaOptions(), quota_sink_, clock_);
    nodes_ = std::make_unique<k8s::Reflector<k8s::Node>>(*client_, NodeOptions(), node_sink_, clock_);
  }

  bool synced() const override {
    if (quotas_ != nullptr && !quotas_->synced()) return false;
    MutexLock lock(mutex_);
    return pods_ != nullptr && pods_->synced();
  }

  std::uint64_t ReadPodsAgain() override {
    MutexLock lock(mutex_);
    return pods_ ? pods_->ReadAgain() : 0;  // the first read has not begun, so it begins after this
  }

  bool HasReadPods(std::uint64_t number) const override {
    MutexLock lock(mutex_);
    return pods_ != nullptr && pods_->synced() && pods_->HasRead(number);
  }

  void HangUp() override { client_->HangUp(); }
  void Stop() override {
    if (quotas_) quotas_->Stop();
    if (nodes_) nodes_->Stop();  // before the pods: after it nothing calls StartPods
    MutexLock lock(mutex_);
    if (pods_) pods_->Stop();
  }

 private:
  /// On the node reflector's thread, after each full read.
  void StartPods() {
    MutexLock lock(mutex_);
    if (!pods_) pods_ = std::make_unique<k8s::Reflector<k8s::Pod>>(*client_, PodOptions(), pod_sink_, clock_);
  }

  const std::unique_ptr<k8s::Client> client_;
  const Clock& clock_;
  const bool reads_quotas_;
  const std::unique_ptr<scheduler::ClusterApi> api_;
  NodeSink node_sink_;
  PodSink pod_sink_;
  QuotaSink quota_sink_;
  std::unique_ptr<k8s::Reflector<k8s::ResourceQuota>> quotas_;  // made by Start, before anybody asks
  std::unique_ptr<k8s::Reflector<k8s::Node>> nodes_;
  mutable Mutex mutex_;
  std::unique_ptr<k8s::Reflector<k8s::Pod>> pods_ PARTAGE_GUARDED_BY(mutex_);
};

}  // namespace

Result<std::unique_ptr<ClusterSource>> MakeKubeSource(k8s::ClientConfig config, bool quotas, Feed feed) {
  auto client = k8s::Client::Make(std::move(config), feed.clock);
  if (!client) return Fail(client.error());
  return std::make_unique<KubeSource>(*std::move(client), quotas, std::move(feed));
}

}  // namespace partage::app
