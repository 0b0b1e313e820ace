// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>

#include "http/server.h"
#include "metrics/registry.h"
#include "scheduler/webhook/admission.h"

namespace partage::scheduler {

/// The API server's admission protocol (review.h) over Admission: POST /mutate. Format: docs/http-api.md. A body that is no review gets a 400 that says
/// where; everything about the pod is answered in the review. Thread-safe. Everything passed in must outlive it, and it must outlive the server it added its
/// route to.
class Webhook {
 public:
  Webhook(Engine& engine, const vendors::Catalog& vendors, AdmissionOptions options, metrics::Registry& registry);
  ~Webhook();

  /// `cluster_known` says whether the cluster has been read in full: before that pods are judged all the same, without warnings about its devices.
  void AddRoutes(http::Server& server, std::function<bool()> cluster_known);
  /// The answer to one request.
  http::Response Mutate(const http::Request& request, bool cluster_known) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace partage::scheduler
