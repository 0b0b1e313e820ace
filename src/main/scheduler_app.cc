// SPDX-License-Identifier: Apache-2.0
#include "main/scheduler_app.h"

#include <utility>

#include "base/log.h"
#include "metrics/collectors/collector.h"

namespace partage::app {
namespace {

using namespace std::chrono_literals;

// Together below the 5 s that Stop promises, with what the cluster source and the requeuer take.
constexpr auto kRequestGrace = 2000ms;
constexpr auto kBindGrace = 1000ms;
constexpr auto kScrapeGrace = 500ms;

http::ServerOptions ServerAt(const http::Endpoint& endpoint, const SchedulerConfig& config) {
  http::ServerOptions options;
  options.host = endpoint.host;
  options.port = endpoint.port;
  options.threads = config.http_threads;
  options.max_body = static_cast<std::size_t>(config.max_body_mib) << 20;
  return options;
}

http::Response Text(int status, std::string text) { return {status, std::move(text), "text/plain; charset=utf-8"}; }

}  // namespace

SchedulerApp::SchedulerApp(SchedulerConfig config) : config_(std::move(config)) {}

SchedulerApp::~SchedulerApp() { Stop(); }

Result<std::unique_ptr<SchedulerApp>> SchedulerApp::Make(SchedulerConfig config) {
  std::unique_ptr<SchedulerApp> app(new SchedulerApp(std::move(config)));
  if (auto built = app->Build(); !built) return Fail(built.error());
  return app;
}

Result<> SchedulerApp::Build() {
  auto engine = scheduler::Engine::Make(cluster_, clock_, config_.engine, probe_);
  if (!engine) return Fail(engine.error());
  engine_ = *std::move(engine);
  auto source = MakeClusterSource(config_.source, {*engine_, config_.vendors, clock_, [this] { LogCounts(); }});
  if (!source) return Fail(source.error());
  source_ = *std::move(source);
  binder_.emplace(*engine_, source_->api(), config_.vendors, clock_, config_.binder, metrics_);
  extender_.emplace(*engine_, *binder_, config_.vendors, metrics_);
  extender_server_.emplace(ServerAt(config_.listen, config_));
  extender_->AddRoutes(*extender_server_, "", [this] { return ready(); });
  metrics_server_.emplace(ServerAt(config_.metrics_listen, config_));
  AddCollectors();
  AddMetricsRoutes();
  scheduler::Requeuer::Options requeue;
  requeue.min_interval = config_.requeue_interval;
  requeuer_.emplace(*engine_, source_->api(), clock_, requeue, metrics_);
  return {};
}

void SchedulerApp::AddCollectors() {
  metrics::CollectOptions options;
  options.device_limit = static_cast<std::size_t>(config_.metrics_device_limit);
  options.pod_series = config_.metrics_pod_series;
  options.waiting_pods = [this] { return engine_->waiting_count(); };
  metrics::AddCollectors(metrics_, cluster_, std::move(options));
}

void SchedulerApp::LogCounts() const {
  const auto counts = cluster_.counts();
  log::info("cluster read: {} nodes, {} devices, {} pods with a share, {} nodes quarantined", counts.nodes, counts.devices,
            counts.pods_bound, counts.quarantined_nodes);
}

void SchedulerApp::AddMetricsRoutes() {
  metrics_server_->Route("GET", "/healthz", [](const http::Request&, http::Respond respond) { respond(Text(200, "ok\n")); });
  metrics_server_->Route("GET", "/readyz", [this](const http::Request&, http::Respond respond) {
    respond(ready() ? Text(200, "ok\n") : Text(503, "the cluster has not been read in full yet\n"));
  });
  metrics_server_->Route("GET", "/metrics", [this](const http::Request&, http::Respond respond) {
    respond({200, metrics_.Expose(), "text/plain; version=0.0.4; charset=utf-8"});
  });
  metrics_server_->Route("GET", "/debug/state", [this](const http::Request& request, http::Respond respond) {
    respond({200, scheduler::StateJson(*engine_, request.query), "application/json"});
  });
  metrics_server_->Route("GET", "/debug/explain", [this](const http::Request& request, http::Respond respond) {
    respond(scheduler::ExplainReply(*engine_, request.query));
  });
  source_->AddRoutes(*metrics_server_);
}

Result<> SchedulerApp::Start() {
  // Health is answered from the first moment; the extender answers "not ready" until the cluster has been read.
  if (auto started = metrics_server_->Start(); !started) return Fail(started.error(), "metricsListen");
  if (auto started = extender_server_->Start(); !started) return Fail(started.error(), "listen");
  log::info("extender on {}:{}, metrics and state on {}:{}", config_.listen.host, extender_port(), config_.metrics_listen.host,
            metrics_port());
  log::info("reading the cluster from {}", source_->name());
  source_->Start();
  requeuer_->Start();
  return {};
}

bool SchedulerApp::ready() const { return !stopping_ && source_->synced(); }

void SchedulerApp::Stop() {
  if (stopping_.exchange(true)) return;
  if (extender_server_) extender_server_->Stop(kRequestGrace);
  if (binder_) binder_->Stop(kBindGrace);
  if (requeuer_) requeuer_->Stop();
  if (source_) source_->Stop();
  if (metrics_server_) metrics_server_->Stop(kScrapeGrace);
}

}  // namespace partage::app
