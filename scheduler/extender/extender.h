// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "http/server.h"
#include "metrics/registry.h"
#include "scheduler/engine/engine.h"
#include "scheduler/extender/binder.h"
#include "vendors/vendor.h"

namespace partage::scheduler {

/// kube-scheduler's extender protocol (wire.h) over the engine: POST /filter, /prioritize, /bind. Formats: docs/http-api.md.
/// A malformed body gets a 400 that says where; everything about the pod itself is answered in the protocol's own fields with status 200.
/// Thread-safe. Everything passed in must outlive it, and it must outlive the server it added routes to.
class Extender {
 public:
  Extender(Engine& engine, Binder& binder, const vendors::Catalog& vendors, metrics::Registry& registry);
  ~Extender();

  /// Adds the three routes, each under `prefix` ("" or "/scheduler"). While `ready` is false /filter and /bind answer with an error that says why,
  /// /prioritize with no scores. Pods that ask for nothing of ours pass /filter at any time.
  void AddRoutes(http::Server& server, const std::string& prefix, std::function<bool()> ready);

  /// The handlers behind the routes.
  struct Handlers {
    http::Handler filter, prioritize, bind;
  };
  Handlers MakeHandlers(std::function<bool()> ready);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// `GET /debug/state`: nodes, devices with capacity and use, pods with their shares, reservations, waiting pods. `query` may narrow it: `node=NAME`,
/// `pods=false`. Nodes and pods are in name order, so that two states can be compared as text. Format: docs/http-api.md.
std::string StateJson(Engine& engine, std::string_view query);

/// `GET /debug/explain?pod=NAMESPACE/NAME`: of a waiting pod, why each group of nodes refuses it, which is nearest, and the smallest changes that would help;
/// of a placed one, its share and the decision. 400 and 404 say what is wrong. Format: docs/http-api.md.
http::Response ExplainReply(Engine& engine, std::string_view query);

}  // namespace partage::scheduler
