// SPDX-License-Identifier: Apache-2.0
#include "main/listener.h"

#include "metrics/catalog.h"

namespace partage::app {
namespace {

/// Counts what happens to one listener's certificates.
class TlsProbe {
 public:
  TlsProbe(const std::string& name, metrics::Registry& registry)
      : name_(name),
        registry_(&registry),
        loaded_(registry.GetCounter(metrics::kTlsLoads, {name, "loaded"})),
        rejected_(registry.GetCounter(metrics::kTlsLoads, {name, "rejected"})),
        failures_(registry.GetCounter(metrics::kTlsHandshakeFailures, {name})) {}

  void operator()(const http::TlsEvent& event) const {
    using Kind = http::TlsEvent::Kind;
    if (event.kind == Kind::kHandshakeFailed) return failures_.Inc();
    (event.kind == Kind::kLoaded ? loaded_ : rejected_).Inc();
    const std::chrono::duration<double> expiry = event.valid_until.time_since_epoch();
    registry_->SetGauge(metrics::kTlsExpiry, expiry.count(), {name_});
  }

 private:
  std::string name_;
  metrics::Registry* registry_;
  metrics::Registry::Counter loaded_, rejected_, failures_;
};

}  // namespace

http::ServerOptions ListenerOptions(const std::string& name, const http::Endpoint& endpoint, const TlsFilesConfig& tls,
                                    const SchedulerConfig& config, metrics::Registry& registry) {
  http::ServerOptions options;
  options.host = endpoint.host;
  options.port = endpoint.port;
  options.threads = config.http_threads;
  options.max_body = static_cast<std::size_t>(config.max_body_mib) << 20;
  if (!tls.on()) return options;
  options.tls.emplace();
  options.tls->certificate_file = tls.certificate;
  options.tls->key_file = tls.key;
  options.tls->client_ca_file = tls.client_ca;
  options.tls->names = tls.names;
  options.tls->on_event = TlsProbe(name, registry);
  return options;
}

}  // namespace partage::app
