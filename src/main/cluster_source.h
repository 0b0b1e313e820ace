// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "http/server.h"
#include "k8s/client/config.h"
#include "main/scheduler_config.h"
#include "scheduler/engine/engine.h"
#include "scheduler/extender/cluster_api.h"

namespace partage::app {

/// Where nodes and pods come from and where bindings go: an API server, or a simulated cluster. Feeds the engine's ledger from Start to Stop. Thread-safe.
class ClusterSource {
 public:
  virtual ~ClusterSource() = default;

  virtual scheduler::ClusterApi& api() = 0;
  /// For the log: "https://10.0.0.1:6443".
  virtual std::string name() const = 0;
  virtual void Start() = 0;
  /// True once nodes, pods and what else decides have been read in full.
  virtual bool synced() const = 0;
  /// Has every pod read again, consistently and from now on, not from before. Returns a number for HasReadPods.
  virtual std::uint64_t ReadPodsAgain() { return 0; }
  /// Whether the ledger shows what the read of that number, or a later one, has found.
  virtual bool HasReadPods(std::uint64_t) const { return synced(); }
  /// Adds what only this source has to the debug listener.
  virtual void AddRoutes(http::Server&) {}
  /// Gives up the calls of api() that are under way, and refuses later ones: for what still waits for an answer when the process is to end.
  virtual void HangUp() {}
  /// Idempotent; returns within about a second.
  virtual void Stop() = 0;
};

/// What a source feeds. All of it must outlive the source.
struct Feed {
  scheduler::Engine& engine;
  const vendors::Catalog& vendors;
  const Clock& clock;
  std::function<void()> on_synced;  ///< called after every full read of the pods, from the source's thread
};

/// How to reach the API server that the configuration names. kInvalid when its file is wrong. REQUIRES: kKubeconfig or kInCluster.
Result<k8s::ClientConfig> ApiServerOf(const ClusterSourceConfig& config);

/// The source the configuration names. kInvalid when its file is wrong or the cluster cannot be reached with it. REQUIRES: a kind other than kNone.
Result<std::unique_ptr<ClusterSource>> MakeClusterSource(const ClusterSourceConfig& config, Feed feed);

}  // namespace partage::app
