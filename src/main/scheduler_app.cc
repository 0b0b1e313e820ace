// SPDX-License-Identifier: Apache-2.0
#include "main/scheduler_app.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "main/listener.h"
#include "metrics/collectors/collector.h"
#include "scheduler/preemption/preempt_verb.h"

namespace partage::app {
namespace {

using namespace std::chrono_literals;

// Together below the 5 s that Stop promises.
constexpr auto kRequestGrace = 1500ms;
constexpr auto kBindGrace = 1000ms;
constexpr auto kFarewellGrace = 500ms;  // evictions under way, events not yet written, the lease given back
constexpr auto kScrapeGrace = 500ms;

constexpr std::size_t kMaxReview = 8u << 20;  // the API server takes objects of up to 3 MiB

std::string HostName() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

std::string RandomText() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(), random());
}

/// Calls a function when it has lived for so long.
class After {
 public:
  After(std::chrono::milliseconds time, std::function<void()> call)
      : thread_([time, call = std::move(call)](const std::stop_token& stop) {
          std::mutex mutex;
          std::condition_variable_any wake;
          std::unique_lock lock(mutex);
          wake.wait_for(lock, stop, time, [] { return false; });
          if (!stop.stop_requested()) call();
        }) {}

 private:
  std::jthread thread_;
};

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
  auto where = config_.source;
  const auto margin = config_.leader_election.timings.margin();
  if (config_.leader_election.on()) where.request_timeout = std::min(where.request_timeout, margin - margin / 5);
  auto source = MakeClusterSource(where, {*engine_, config_.vendors, clock_, [this] { LogCounts(); }});
  if (!source) return Fail(source.error());
  source_ = *std::move(source);
  if (auto built = BuildLeadership(); !built) return Fail(built.error());
  auto binder = config_.binder;
  if (leadership_) binder.fence = &*leadership_;
  binder_.emplace(*engine_, source_->api(), config_.vendors, clock_, binder, metrics_);
  extender_.emplace(*engine_, *binder_, config_.vendors, metrics_);
  extender_server_.emplace(ListenerOptions("extender", config_.listen, config_.tls, config_, metrics_));
  extender_->AddRoutes(*extender_server_, "", [this] { return ready(); });
  BuildWebhook();
  metrics_server_.emplace(ListenerOptions("metrics", config_.metrics_listen, {}, config_, metrics_));
  AddCollectors();
  AddMetricsRoutes();
  scheduler::Requeuer::Options requeue;
  requeue.min_interval = config_.requeue_interval;
  requeuer_.emplace(*engine_, source_->api(), clock_, requeue, metrics_);
  confirmer_.emplace(cluster_, source_->api());
  BuildPreemption();
  return {};
}

Result<> SchedulerApp::BuildLeadership() {
  const auto& election = config_.leader_election;
  if (!election.on()) return {};
  auto client = ApiServerOf(config_.source);
  if (!client) return Fail(client.error());
  client->request_timeout = election.timings.renew_deadline / 2;  // so that a try that hangs leaves time for another
  client->max_connections = 2;
  auto made = k8s::Client::Make(*std::move(client), clock_);
  if (!made) return Fail(made.error());
  lease_client_ = *std::move(made);
  const auto lease_named = [&](const std::string& name) {
    const auto slash = name.find('/');
    return k8s::MakeLeaseApi(*lease_client_, name.substr(0, slash), name.substr(slash + 1));
  };
  const std::string host = HostName();
  const std::string place = fmt::format("{}_{}_", host, config_.listen.port);
  Leadership::Options options;
  options.elector.identity = place + RandomText();
  if (config_.listen.port != 0) options.elector.predecessor = place;
  options.elector.timings = election.timings;
  options.neighbour = election.kube_scheduler_host == "auto" ? host : election.kube_scheduler_host;
  options.seed = std::random_device()();
  leadership_.emplace(
      lease_named(election.lease), election.shape == "follow" ? lease_named(election.kube_scheduler_lease) : nullptr, std::move(options),
      Leadership::PodReader{[this] { return source_->ReadPodsAgain(); }, [this](std::uint64_t read) { return source_->HasReadPods(read); }},
      clock_, metrics_);
  return {};
}

void SchedulerApp::BuildWebhook() {
  if (!config_.webhook_listen) return;
  webhook_.emplace(*engine_, config_.vendors, config_.admission, metrics_);
  auto options = ListenerOptions("webhook", *config_.webhook_listen, config_.webhook_tls, config_, metrics_);
  options.max_body = std::min(options.max_body, kMaxReview);
  webhook_server_.emplace(std::move(options));
  webhook_->AddRoutes(*webhook_server_, [this] { return !stopping_ && source_->synced(); });
}

// A simulated cluster does not know its pods before they are bound, so nobody can tell whether they still wait.
void SchedulerApp::BuildPreemption() {
  extender_server_->Route("POST", "/preempt",
                          scheduler::MakePreemptHandler(
                              *engine_, config_.vendors, [this] { return ready(); }, metrics_));
  if (!config_.preemption || config_.source.kind == ClusterSourceConfig::Kind::kSimulated) return;
  auto options = config_.preemptor;
  if (leadership_) options.fence = &*leadership_;
  scheduler::EventWriter::Options events;
  events.instance = HostName();
  events.fence = options.fence;
  events_.emplace(source_->api(), clock_, events, metrics_);
  preemptor_.emplace(*engine_, source_->api(), *events_, clock_, options, metrics_);
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
    const std::string why = NotReady();
    respond(why.empty() ? Text(200, "ok\n") : Text(503, why + "\n"));
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
  if (webhook_server_) {
    if (auto started = webhook_server_->Start(); !started) return Fail(started.error(), "webhookListen");
    log::info("webhook on {}:{}", config_.webhook_listen->host, webhook_port());
  }
  log::info("extender on {}:{}, metrics and state on {}:{}", config_.listen.host, extender_port(), config_.metrics_listen.host,
            metrics_port());
  log::info("reading the cluster from {}", source_->name());
  source_->Start();
  // Only now: that our address could be listened on shows that whoever had it before is gone.
  if (leadership_) leadership_->Start();
  requeuer_->Start();
  confirmer_->Start();
  if (events_) events_->Start();
  if (preemptor_) preemptor_->Start();
  return {};
}

bool SchedulerApp::ready() const { return !stopping_ && source_->synced() && (!leadership_ || leadership_->active()); }

std::string SchedulerApp::NotReady() const {
  if (stopping_) return "stopping";
  if (!source_->synced()) return "the cluster has not been read in full yet";
  if (config_.leader_election.shape == "elect" && !leadership_->active()) return leadership_->status();
  return {};
}

void SchedulerApp::Stop() {
  if (stopping_.exchange(true)) return;
  if (extender_server_) extender_server_->Stop(kRequestGrace);
  if (webhook_server_) webhook_server_->Stop(kScrapeGrace);
  if (binder_) binder_->Stop(kBindGrace);
  const After hang_up(kFarewellGrace, [this] {
    if (source_) source_->HangUp();
    if (lease_client_) lease_client_->HangUp();
  });
  if (preemptor_) preemptor_->Stop();
  if (events_) events_->Stop();
  if (leadership_) leadership_->Stop();
  if (requeuer_) requeuer_->Stop();
  if (confirmer_) confirmer_->Stop();
  if (source_) source_->Stop();
  if (metrics_server_) metrics_server_->Stop(kScrapeGrace);
}

}  // namespace partage::app
