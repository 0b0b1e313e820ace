// SPDX-License-Identifier: Apache-2.0
#include "main/sim_source.h"

#include <atomic>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "main/watch_sinks.h"
#include "sim/sim_cluster.h"

namespace partage::app {
namespace {

class SimSource final : public ClusterSource {
 public:
  SimSource(sim::SimSpec spec, std::string file, Feed feed)
      : spec_(std::move(spec)),
        file_(std::move(file)),
        node_sink_(feed.engine.cluster(), feed.vendors, [] {}),
        pod_sink_(feed.engine, feed.vendors, std::move(feed.on_synced)),
        cluster_(node_sink_, pod_sink_) {}

  scheduler::ClusterApi& api() override { return cluster_; }
  std::string name() const override { return "sim:" + file_; }
  bool synced() const override { return synced_; }
  void Stop() override {}

  void Start() override {
    cluster_.Load(std::move(spec_));
    synced_ = true;
  }

  void AddRoutes(http::Server& server) override {
    server.Route("DELETE", "/sim/pods", [this](const http::Request& request, http::Respond respond) {
      respond(Delete(http::QueryParameter(request.query, "pod")));
    });
  }

 private:
  http::Response Delete(const std::string& pod) {
    const auto slash = pod.find('/');
    if (slash == std::string::npos) return Answer(400, Quoted(pod) + " is not a pod; give ?pod=NAMESPACE/NAME");
    const auto deleted = cluster_.DeletePod(pod.substr(0, slash), pod.substr(slash + 1));
    return deleted ? Answer(200, "") : Answer(404, deleted.error().message);
  }

  static http::Response Answer(int status, const std::string& error) {
    const auto replace = nlohmann::json::error_handler_t::replace;  // a pod's name may be any bytes
    return {status, nlohmann::json{{"error", error}}.dump(-1, ' ', false, replace), "application/json"};
  }

  sim::SimSpec spec_;
  const std::string file_;
  NodeSink node_sink_;
  PodSink pod_sink_;
  sim::SimCluster cluster_;
  std::atomic<bool> synced_ = false;
};

}  // namespace

std::unique_ptr<ClusterSource> MakeSimSource(sim::SimSpec spec, std::string file, Feed feed) {
  return std::make_unique<SimSource>(std::move(spec), std::move(file), std::move(feed));
}

}  // namespace partage::app
