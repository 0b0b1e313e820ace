// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/result.h"
#include "http/server.h"
#include "main/cluster_source.h"
#include "main/leadership.h"
#include "main/scheduler_config.h"
#include "metrics/registry.h"
#include "scheduler/engine/engine.h"
#include "scheduler/extender/binder.h"
#include "scheduler/extender/confirmer.h"
#include "scheduler/extender/event_writer.h"
#include "scheduler/extender/extender.h"
#include "scheduler/extender/metrics_probe.h"
#include "scheduler/extender/requeuer.h"
#include "scheduler/preemption/preemptor.h"
#include "scheduler/webhook/webhook.h"

namespace partage::app {

/// partage-scheduler without its command line: every part, constructed in the order it is needed and destroyed in reverse.
/// Start and Stop are called by one thread; ready() is thread-safe.
class SchedulerApp {
 public:
  /// Builds all parts; nothing runs yet. kInvalid when the configuration cannot work; the message says why.
  static Result<std::unique_ptr<SchedulerApp>> Make(SchedulerConfig config);
  ~SchedulerApp();  ///< Stop()

  /// Listens, then starts reading the cluster. kUnavailable when an address cannot be listened on.
  Result<> Start();

  /// The cluster has been read in full, this replica may write, and Stop was not called.
  bool ready() const;
  /// Why /readyz says no; empty when it says yes. Behind a Service only the active replica is ready, so that it is the one that gets the calls; beside a
  /// kube-scheduler standing by is being ready.
  std::string NotReady() const;
  std::uint16_t extender_port() const { return extender_server_->port(); }
  /// 0 where there is no webhook.
  std::uint16_t webhook_port() const { return webhook_server_ ? webhook_server_->port() : std::uint16_t{0}; }
  std::uint16_t metrics_port() const { return metrics_server_->port(); }

  /// Answers what is running, refuses what is new, and ends within 5 s. Idempotent.
  void Stop();

 private:
  explicit SchedulerApp(SchedulerConfig config);
  Result<> Build();
  void BuildWebhook();
  void BuildPreemption();
  Result<> BuildLeadership();
  void AddCollectors();
  void LogCounts() const;
  void AddMetricsRoutes();

  const SchedulerConfig config_;
  SystemClock clock_;
  scheduler::Cluster cluster_{clock_};
  metrics::Registry metrics_;
  scheduler::MetricsProbe probe_{metrics_};
  std::unique_ptr<scheduler::Engine> engine_;
  std::unique_ptr<ClusterSource> source_;
  std::unique_ptr<k8s::Client> lease_client_;
  std::optional<Leadership> leadership_;  // none: this replica is alone
  std::optional<scheduler::Binder> binder_;
  std::optional<scheduler::Extender> extender_;
  std::optional<scheduler::Webhook> webhook_;
  std::optional<http::Server> extender_server_, webhook_server_, metrics_server_;
  std::optional<scheduler::Requeuer> requeuer_;
  std::optional<scheduler::Confirmer> confirmer_;
  std::optional<scheduler::EventWriter> events_;
  std::optional<scheduler::Preemptor> preemptor_;  // none: switched off, or the cluster is simulated
  std::atomic<bool> stopping_ = false;
};

}  // namespace partage::app
