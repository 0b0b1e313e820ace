// SPDX-License-Identifier: Apache-2.0
#include <openssl/pem.h>

#include <thread>

#include <httplib.h>
#include <catch2/catch.hpp>

#include "k8s/client/client.h"
#include "test/support/certificates.h"
#include "test/support/manual_clock.h"
#include "test/support/temp_folder.h"

namespace partage::k8s {
namespace {

using test::Authority;
using test::Identity;
using test::TempFolder;

/// An HTTPS server that answers GET with the subject alternative it was asked for.
class TlsServer {
 public:
  /// Clients must show a certificate of `client_authority` when that is given.
  explicit TlsServer(const Identity& identity, const std::string& client_authority = {})
      : certificate_(folder_.Write("tls.crt", identity.certificate)),
        key_(folder_.Write("tls.key", identity.key)),
        authority_(client_authority.empty() ? std::string() : folder_.Write("ca.crt", client_authority)),
        server_(certificate_.c_str(), key_.c_str(), authority_.empty() ? nullptr : authority_.c_str()) {
    server_.Get("/name", [](const httplib::Request& request, httplib::Response& response) {
      const char* name = SSL_get_servername(request.ssl, TLSEXT_NAMETYPE_host_name);
      response.set_content(name == nullptr ? "none" : name, "text/plain");
    });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  ~TlsServer() {
    server_.stop();
    thread_.join();
  }
  ClientConfig Config() const {
    ClientConfig config;
    config.server = "https://127.0.0.1:" + std::to_string(port_);
    return config;
  }

 private:
  TempFolder folder_;
  std::string certificate_, key_, authority_;
  httplib::SSLServer server_;
  int port_ = 0;
  std::thread thread_;
};

const test::ManualClock kClock;

Result<Reply> GetName(const ClientConfig& config) {
  auto client = Client::Make(config, kClock);
  REQUIRE(client.has_value());
  return (*client)->Get("/name");
}

void CheckDistrusted(const ClientConfig& config, const std::string& reason) {
  const auto reply = GetName(config);
  REQUIRE_FALSE(reply.has_value());
  CHECK(reply.error().code == Code::kUnavailable);
  CHECK_THAT(reply.error().message, Catch::Contains("TLS handshake failed") && Catch::Contains(reason));
}

TEST_CASE("A server whose certificate the given authority signed for its address is trusted, and an address is not sent as a name") {
  const Authority authority;
  const TlsServer server(authority.Issue(test::kLoopback));
  auto config = server.Config();
  config.ca_pem = authority.certificate();
  const auto reply = GetName(config);
  REQUIRE(reply.has_value());
  CHECK(reply->body == "none");
}

TEST_CASE("An authority can come from a file, and tls_server_name is what is verified and sent") {
  const Authority authority;
  const TlsServer server(authority.Issue("DNS:api.test"));
  const TempFolder folder;
  auto config = server.Config();
  config.ca_file = folder.Write("ca.crt", authority.certificate());
  CheckDistrusted(config, "IP address mismatch");
  config.tls_server_name = "api.test";
  CHECK(GetName(config)->body == "api.test");
  config.tls_server_name = "other.test";
  CheckDistrusted(config, "hostname mismatch");
}

TEST_CASE("A server that another authority signed is not trusted, unless told not to look") {
  const Authority authority, other;
  const TlsServer server(authority.Issue(test::kLoopback));
  auto config = server.Config();
  config.ca_pem = other.certificate();
  CheckDistrusted(config, "");
  config.insecure_skip_tls_verify = true;
  CHECK(GetName(config)->status == 200);
}

TEST_CASE("Without an authority the system's are used, and ours is not among them") {
  const Authority authority;
  const TlsServer server(authority.Issue(test::kLoopback));
  CheckDistrusted(server.Config(), "");
}

TEST_CASE("A changed authority file serves the next connection, an unreadable one leaves the old in use") {
  const Authority authority, other;
  const TlsServer server(authority.Issue(test::kLoopback));
  const TempFolder folder;
  auto config = server.Config();
  config.ca_file = folder.Write("ca.crt", other.certificate());
  auto client = Client::Make(config, kClock);
  REQUIRE(client.has_value());
  CHECK_FALSE((*client)->Get("/name").has_value());
  folder.Write("ca.crt", "half a certificate");
  CHECK_FALSE((*client)->Get("/name").has_value());
  folder.Write("ca.crt", authority.certificate());
  CHECK((*client)->Get("/name").has_value());
}

TEST_CASE("A client certificate opens a server that demands one, from PEM and from files") {
  const Authority authority;
  const TlsServer server(authority.Issue(test::kLoopback), authority.certificate());
  const auto me = authority.Issue("DNS:me");
  auto config = server.Config();
  config.ca_pem = authority.certificate();
  CHECK_FALSE(GetName(config).has_value());
  auto by_text = config;
  by_text.client_cert_pem = me.certificate;
  by_text.client_key_pem = me.key;
  CHECK(GetName(by_text)->status == 200);
  const TempFolder folder;
  config.client_cert_file = folder.Write("me.crt", me.certificate);
  config.client_key_file = folder.Write("me.key", me.key);
  CHECK(GetName(config)->status == 200);
}

TEST_CASE("A key that is not the certificate's is refused when the client is made") {
  const Authority authority;
  ClientConfig config;
  config.server = "https://127.0.0.1:1";
  config.client_cert_pem = authority.Issue("DNS:a").certificate;
  config.client_key_pem = authority.Issue("DNS:b").key;
  const auto client = Client::Make(config, kClock);
  REQUIRE_FALSE(client.has_value());
  CHECK_THAT(client.error().message, Catch::Contains("client-key does not belong to client-certificate"));
}

TEST_CASE("A server that speaks no TLS is kUnavailable") {
  httplib::Server plain;
  const int port = plain.bind_to_any_port("127.0.0.1");
  std::thread thread([&] { plain.listen_after_bind(); });
  ClientConfig config;
  config.server = "https://127.0.0.1:" + std::to_string(port);
  config.connect_timeout = std::chrono::milliseconds(500);
  CheckDistrusted(config, "");
  plain.stop();
  thread.join();
}

TEST_CASE("TLS connections are kept alive and replaced when the server closed them") {
  const Authority authority;
  auto server = std::make_unique<TlsServer>(authority.Issue(test::kLoopback));
  auto config = server->Config();
  config.ca_pem = authority.certificate();
  auto client = Client::Make(config, kClock);
  REQUIRE(client.has_value());
  for (int i = 0; i < 5; ++i) CHECK((*client)->Get("/name")->status == 200);
  server.reset();
  const auto reply = (*client)->Post("/name", "{}");
  REQUIRE_FALSE(reply.has_value());
  CHECK(reply.error().code == Code::kUnavailable);
}

}  // namespace
}  // namespace partage::k8s
