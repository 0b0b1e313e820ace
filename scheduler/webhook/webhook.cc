// SPDX-License-Identifier: Apache-2.0
#include "scheduler/webhook/webhook.h"

#include <chrono>
#include <utility>

#include "base/log.h"
#include "metrics/catalog.h"
#include "scheduler/extender/wire.h"

namespace partage::scheduler {

class Webhook::Impl {
 public:
  Impl(Engine& engine, const vendors::Catalog& vendors, AdmissionOptions options, metrics::Registry& registry)
      : admission_(engine, vendors, std::move(options)),
        untouched_(registry.GetHistogram(metrics::kWebhookSeconds, {"untouched"})),
        patched_(registry.GetHistogram(metrics::kWebhookSeconds, {"patched"})),
        refused_(registry.GetHistogram(metrics::kWebhookSeconds, {"refused"})),
        bad_requests_(registry.GetCounter(metrics::kRequestErrors, {"/mutate"})) {}

  http::Response Mutate(const http::Request& request, bool cluster_known) const {
    const auto began = std::chrono::steady_clock::now();
    const auto review = DecodeReview(request.body);
    if (!review) return Malformed(review.error());
    const Verdict verdict = admission_.Judge(*review, cluster_known);
    if (!verdict.allowed) log::debug("admission: {} refused: {}", review->pod.FullName(), verdict.message);
    http::Response response{.status = 200, .body = EncodeVerdict(review->uid, verdict)};
    TimesOf(verdict).Observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
    return response;
  }

 private:
  http::Response Malformed(const Error& error) const {
    bad_requests_.Inc();
    return {.status = 400, .body = EncodeMalformed(error.message)};
  }

  const metrics::Registry::Histogram& TimesOf(const Verdict& verdict) const {
    if (!verdict.allowed) return refused_;
    return verdict.patch.empty() ? untouched_ : patched_;
  }

  const Admission admission_;
  const metrics::Registry::Histogram untouched_, patched_, refused_;
  const metrics::Registry::Counter bad_requests_;
};

Webhook::Webhook(Engine& engine, const vendors::Catalog& vendors, AdmissionOptions options, metrics::Registry& registry)
    : impl_(std::make_unique<Impl>(engine, vendors, std::move(options), registry)) {}
Webhook::~Webhook() = default;

http::Response Webhook::Mutate(const http::Request& request, bool cluster_known) const { return impl_->Mutate(request, cluster_known); }

void Webhook::AddRoutes(http::Server& server, std::function<bool()> cluster_known) {
  server.Route("POST", "/mutate",
               [impl = impl_.get(), cluster_known = std::move(cluster_known)](const http::Request& request, const http::Respond& respond) {
                 respond(impl->Mutate(request, cluster_known()));
               });
}

}  // namespace partage::scheduler
