// SPDX-License-Identifier: Apache-2.0
// The scheduler's listeners over TLS: who reaches the extender, and the admission webhook beside it.
#include <catch2/catch.hpp>

#include "main/scheduler_app.h"
#include "test/http/tls_client.h"
#include "test/support/temp_folder.h"

namespace partage::app {
namespace {

using test::Authority;
using test::Get;
using test::Identity;
using test::Post;
using test::RawClient;
using test::StatusOf;
using test::TlsClient;

constexpr const char* kCluster = "nodes: [{name: n1, devices: [{model: NVIDIA L4, count: 1, memoryMiB: 20000}]}]";
constexpr std::string_view kReview =
    R"({"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"CREATE","resource":{"group":"","version":"v1",)"
    R"("resource":"pods"},"namespace":"team","object":{"metadata":{"generateName":"p-"},"spec":{"containers":[{"name":"main","resources":{"limits":)"
    R"({"nvidia.com/gpumem":"16Gi"}}}]}}}})";

/// A scheduler over a simulated cluster whose extender demands client certificates, with a webhook whose certificates it issues itself.
class Running {
 public:
  Running() {
    SchedulerConfig config;
    config.source = {.kind = ClusterSourceConfig::Kind::kSimulated, .file = folder_.Write("cluster.yaml", kCluster)};
    config.listen.port = config.metrics_listen.port = 0;
    config.tls = Write("extender");
    config.tls.client_ca = folder_.Write("clients.crt", clients_.certificate());
    config.webhook_listen = http::Endpoint{"127.0.0.1", 0};
    config.webhook_tls = {.certificate = folder_.Write("authority.crt", servers_.certificate()),
                          .key = folder_.Write("authority.key", servers_.key()),
                          .client_ca = "",
                          .names = {"127.0.0.1"}};
    app_ = SchedulerApp::Make(std::move(config)).value();
    REQUIRE(app_->Start().has_value());
  }

  SchedulerApp& app() { return *app_; }
  TlsClient Connect(std::uint16_t port, const Identity& identity = {}) {
    return TlsClient(port, {.ca = servers_.certificate(), .identity = identity});
  }
  Identity KubeScheduler() const { return clients_.Issue("DNS:kube-scheduler"); }
  std::string Metrics() { return RawClient(app_->metrics_port()).Ask(Get("/metrics")); }

 private:
  TlsFilesConfig Write(const std::string& name) const {
    const auto identity = servers_.Issue(test::kLoopback);
    return {.certificate = folder_.Write(name + ".crt", identity.certificate),
            .key = folder_.Write(name + ".key", identity.key),
            .client_ca = "",
            .names = {}};
  }

  test::TempFolder folder_;
  Authority servers_, clients_;
  std::unique_ptr<SchedulerApp> app_;
};

TEST_CASE("Nobody binds without a certificate that the extender's authority signed") {
  Running scheduler;
  const auto port = scheduler.app().extender_port();
  const auto bind = Post("/bind", R"({"PodName":"p","PodNamespace":"team","PodUID":"u","Node":"n1"})");
  CHECK(RawClient(port).Ask(bind) == "");
  CHECK(scheduler.Connect(port).Ask(bind) == "");
  CHECK(scheduler.Connect(port, Authority().Issue("DNS:kube-scheduler")).Ask(bind) == "");
  CHECK(StatusOf(scheduler.Connect(port, scheduler.KubeScheduler()).Ask(bind)) == 200);
  CHECK_THAT(scheduler.Metrics(),
             Catch::Contains("partage_tls_handshake_failures_total{listener=\"extender\"} 3\n") &&
                 Catch::Contains("partage_tls_certificate_loads_total{listener=\"extender\",outcome=\"loaded\"} 1\n") &&
                 Catch::Contains("partage_tls_certificate_expiry_timestamp_seconds{listener=\"webhook\"}"));
}

TEST_CASE("The webhook answers reviews, and only reviews, to whoever trusts it") {
  Running scheduler;
  auto api_server = scheduler.Connect(scheduler.app().webhook_port());
  const auto answer = api_server.Ask(Post("/mutate?timeout=5s", kReview));
  CHECK(StatusOf(answer) == 200);
  CHECK_THAT(answer, Catch::Contains("did you mean 16384?"));
  const auto port = scheduler.app().webhook_port();
  CHECK(StatusOf(scheduler.Connect(port).Ask(Post("/bind", "{}"))) == 404);
  CHECK(StatusOf(scheduler.Connect(port).Ask("POST /mutate HTTP/1.1\r\nHost: t\r\nContent-Length: 9437184\r\n\r\n")) == 413);
}

TEST_CASE("A scheduler whose certificate cannot be used does not start, and says which setting is at fault") {
  const test::TempFolder folder;
  SchedulerConfig config;
  config.source = {.kind = ClusterSourceConfig::Kind::kSimulated, .file = folder.Write("cluster.yaml", kCluster)};
  config.listen.port = config.metrics_listen.port = 0;
  config.webhook_listen = http::Endpoint{"127.0.0.1", 0};
  config.webhook_tls = {.certificate = folder.path() + "/none.crt", .key = folder.path() + "/none.key", .client_ca = "", .names = {}};
  const auto started = SchedulerApp::Make(std::move(config)).value()->Start();
  REQUIRE_FALSE(started.has_value());
  CHECK_THAT(started.error().message, Catch::Contains("webhookListen: ") && Catch::Contains("none.crt: No such file"));
}

}  // namespace
}  // namespace partage::app
