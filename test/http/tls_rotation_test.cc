// SPDX-License-Identifier: Apache-2.0
// Certificates that change while the server runs.

#include <atomic>
#include <thread>

#include <catch2/catch.hpp>

#include "test/http/tls_server.h"

namespace partage::test {
namespace {

using Kind = http::TlsEvent::Kind;

Result<> StartWith(const std::string& certificate, const std::string& key, const std::string& client_ca = "") {
  const TempFolder folder;
  http::TlsOptions tls;
  tls.certificate_file = certificate.empty() ? folder.path() + "/missing" : folder.Write("tls.crt", certificate);
  tls.key_file = folder.Write("tls.key", key);
  if (!client_ca.empty()) tls.client_ca_file = folder.Write("ca.crt", client_ca);
  http::Server server({.tls = tls});
  return server.Start();
}

TEST_CASE("A server does not start with files that cannot be used, and names the one that is wrong") {
  const Authority authority;
  const auto one = authority.Issue(kLoopback), two = authority.Issue(kLoopback);
  const auto says = [](const Result<>& started, const std::string& file, const std::string& what) {
    REQUIRE_FALSE(started.has_value());
    CHECK_THAT(started.error().message, Catch::Contains(file) && Catch::Contains(what));
  };
  says(StartWith("", one.key), "missing", "No such file");
  says(StartWith("half a certificate", one.key), "tls.crt", "no usable PEM certificate");
  says(StartWith(one.certificate, two.key), "tls.key", "of the certificate in");
  says(StartWith(one.certificate, ""), "tls.key", "no PEM private key");
  says(StartWith(one.certificate, one.key, "nothing"), "ca.crt", "no usable PEM certificate");
  CHECK(StartWith(one.certificate, one.key, authority.certificate()).has_value());
}

TEST_CASE("A new certificate serves new connections, and open ones go on") {
  const Authority authority;
  TlsTestServer server(authority.Issue(kLoopback));
  auto before = server.Connect({.ca = authority.certificate()});
  CHECK(StatusOf(before.Ask(Get("/hello"))) == 200);
  server.Write(authority.Issue(kLoopback));
  REQUIRE(server.Wait(Kind::kLoaded, 2));
  auto after = server.Connect({.ca = authority.certificate()});
  CHECK(StatusOf(after.Ask(Get("/hello"))) == 200);
  CHECK(after.serial() != before.serial());
  CHECK(StatusOf(before.Ask(Get("/hello"))) == 200);
}

TEST_CASE("Broken, mismatched, out-of-date and missing files keep the old certificate, and are told once each") {
  const Authority authority;
  const auto good = authority.Issue(kLoopback), other = authority.Issue(kLoopback);
  TlsTestServer server(good);
  const std::string serial = server.Connect({.ca = authority.certificate()}).serial();
  const auto unchanged = [&](int rejected) {
    REQUIRE(server.Wait(Kind::kRejected, rejected));
    auto client = server.Connect({.ca = authority.certificate()});
    CHECK(StatusOf(client.Ask(Get("/hello"))) == 200);
    CHECK(client.serial() == serial);
  };
  server.WriteCertificate(good.certificate.substr(0, good.certificate.size() / 2));
  unchanged(1);
  server.WriteCertificate(other.certificate);
  unchanged(2);
  server.Write(authority.Issue(kLoopback, -10));
  unchanged(3);
  CHECK(server.Count(Kind::kLoaded) == 1);
  server.Write(other);
  REQUIRE(server.Wait(Kind::kLoaded, 2));
  CHECK(server.Connect({.ca = authority.certificate()}).serial() != serial);
  CHECK(server.Count(Kind::kRejected) == 3);
}

TEST_CASE("A client authority that is taken away no longer opens the door, not even for a client that was in before") {
  const Authority servers, first, second;
  TlsTestServer server(servers.Issue(kLoopback), first.certificate());
  const TlsClientOptions old_client{.ca = servers.certificate(), .identity = first.Issue("DNS:a")};
  const TlsClientOptions new_client{.ca = servers.certificate(), .identity = second.Issue("DNS:b")};
  CHECK(StatusOf(server.Connect(old_client).Ask(Get("/hello"))) == 200);
  server.WriteClientCa(first.certificate() + second.certificate());
  REQUIRE(server.Wait(Kind::kLoaded, 2));
  CHECK(StatusOf(server.Connect(old_client).Ask(Get("/hello"))) == 200);
  CHECK(StatusOf(server.Connect(new_client).Ask(Get("/hello"))) == 200);
  server.WriteClientCa(second.certificate());
  REQUIRE(server.Wait(Kind::kLoaded, 3));
  CHECK(server.Connect(old_client).Ask(Get("/hello")) == "");
  CHECK(StatusOf(server.Connect(new_client).Ask(Get("/hello"))) == 200);
}

TEST_CASE("Certificates rotated under load fail no request") {
  const Authority authority;
  TlsTestServer server(authority.Issue(kLoopback));
  std::atomic<bool> stop = false;
  std::atomic<int> served = 0, failed = 0;
  const auto load = [&](int requests_a_connection) {
    while (!stop) {
      auto client = server.Connect({.ca = authority.certificate()});
      for (int i = 0; i < requests_a_connection; ++i) ++(StatusOf(client.Ask(Post("/echo", "x"))) == 200 ? served : failed);
    }
  };
  std::jthread one([&] { load(1); }), many([&] { load(20); });
  for (int rotation = 2; rotation < 12; ++rotation) {
    server.Write(authority.Issue(kLoopback));
    CHECK(server.Wait(Kind::kLoaded, rotation));
  }
  stop = true;
  one.join();
  many.join();
  CHECK(failed == 0);
  CHECK(served > 20);
  CHECK(server.Count(Kind::kHandshakeFailed) == 0);
}

}  // namespace
}  // namespace partage::test
