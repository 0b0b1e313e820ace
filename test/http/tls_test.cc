// SPDX-License-Identifier: Apache-2.0
// Who gets through the handshake, and what becomes of those who do not.

#include <thread>

#include <catch2/catch.hpp>

#include "test/http/tls_server.h"

namespace partage::test {
namespace {

using std::chrono::milliseconds;
using Kind = http::TlsEvent::Kind;

bool Serves(TlsClient& client) { return BodyOf(client.Ask(Get("/hello"))) == "hello"; }

TEST_CASE("Requests of all shapes are served over TLS 1.2 and 1.3") {
  const Authority authority;
  TlsTestServer server(authority.Issue(kLoopback));
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    auto client = server.Connect({.ca = authority.certificate(), .identity = {}, .max_version = version});
    REQUIRE(client.fault() == "");
    const std::string large(3'000'000, 'x');
    for (int i = 0; i < 3; ++i) CHECK(Serves(client));
    CHECK(BodyOf(client.Ask(Post("/echo", large))) == large);
    CHECK(BodyOf(client.Ask(Get("/big"))).size() == kBig);
    CHECK(StatusOf(client.Ask(Get("/throw"))) == 500);
    CHECK(StatusOf(client.Ask(Get("/nowhere"))) == 404);
  }
}

TEST_CASE("The last answer on a TLS connection is followed by a goodbye") {
  const Authority authority;
  TlsTestServer server(authority.Issue(kLoopback));
  auto client = server.Connect({.ca = authority.certificate()});
  CHECK(StatusOf(client.Ask(Get("/hello", "Connection: close\r\n"))) == 200);
  CHECK(client.EndsProperly());
}

TEST_CASE("TLS 1.1 is refused") {
  const Authority authority;
  TlsTestServer server(authority.Issue(kLoopback));
  auto old = server.Connect({.ca = "", .identity = {}, .max_version = TLS1_1_VERSION});
  CHECK(old.fault() == "tlsv1 alert protocol version");
  CHECK(server.Wait(Kind::kHandshakeFailed, 1));
  auto current = server.Connect({.ca = authority.certificate()});
  CHECK(Serves(current));
}

TEST_CASE("A client that trusts another authority, or expects another name, does not talk to the server") {
  const Authority authority, other;
  TlsTestServer server(authority.Issue(kLoopback)), misnamed(authority.Issue("DNS:elsewhere"));
  CHECK(server.Connect({.ca = other.certificate()}).fault() == "certificate verify failed");
  CHECK(misnamed.Connect({.ca = authority.certificate()}).fault() == "certificate verify failed");
  CHECK(server.Wait(Kind::kHandshakeFailed, 1));
}

TEST_CASE("Where clients must show a certificate, none, a stranger's and an expired one are refused") {
  const Authority authority, other;
  TlsTestServer server(authority.Issue(kLoopback), authority.certificate());
  const auto ask = [&](const Identity& identity) {
    auto client = server.Connect({.ca = authority.certificate(), .identity = identity});
    return client.Ask(Get("/hello"));
  };
  CHECK(ask({}) == "");
  CHECK(ask(other.Issue("DNS:me")) == "");
  CHECK(ask(authority.Issue("DNS:me", -10)) == "");
  CHECK(server.Wait(Kind::kHandshakeFailed, 3));
  CHECK(BodyOf(ask(authority.Issue("DNS:me"))) == "hello");
}

TEST_CASE("A client that speaks plain HTTP, or nonsense, costs nobody anything") {
  const Authority authority;
  TlsTestServer server(authority.Issue(kLoopback));
  auto plain = server.http().Connect(), nonsense = server.http().Connect();
  plain.Send(Get("/hello"));
  nonsense.Send(std::string(1000, '\x16'));
  CHECK(StatusOf(plain.Receive()) == 0);
  CHECK(StatusOf(nonsense.Receive()) == 0);
  CHECK(server.Wait(Kind::kHandshakeFailed, 2));
  auto healthy = server.Connect({.ca = authority.certificate()});
  CHECK(Serves(healthy));
}

TEST_CASE("A handshake that does not come is given up, a slow request over TLS is told so") {
  const Authority authority;
  TlsTestServer server(authority.Issue(kLoopback), {}, milliseconds(150));
  auto silent = server.http().Connect();
  auto slow = server.Connect({.ca = authority.certificate()});
  CHECK(StatusOf(slow.Ask("GET /hello HTTP/1.1\r\nHos")) == 408);
  CHECK(silent.AtEnd());
}

TEST_CASE("Past the limit the handshakes that hang for longest make room for a client that means it") {
  const Authority authority;
  TlsTestServer server(authority.Issue(kLoopback), {}, std::chrono::seconds(60), {}, 5);
  std::vector<RawClient> silent;
  for (int i = 0; i < 20; ++i) silent.push_back(server.http().Connect());
  auto client = server.Connect({.ca = authority.certificate()});
  CHECK(Serves(client));
  CHECK(silent.front().AtEnd());
}

TEST_CASE("Past the limit handshakes that hang make room before clients that are idle between their requests do") {
  const Authority authority;
  TlsTestServer server(authority.Issue(kLoopback), {}, milliseconds(1000), {}, 5);
  auto client = server.Connect({.ca = authority.certificate()});
  REQUIRE(Serves(client));
  std::vector<RawClient> silent;
  for (int i = 0; i < 4; ++i) silent.push_back(server.http().Connect());
  // The first of these come to a full house, where everybody has been for longer than a handshake takes.
  std::this_thread::sleep_for(milliseconds(100));
  for (int i = 0; i < 3; ++i) silent.push_back(server.http().Connect());
  CHECK(silent.front().AtEnd());
  CHECK(Serves(client));
}

TEST_CASE("A server stops while handshakes are under way") {
  const Authority authority;
  TlsTestServer server(authority.Issue(kLoopback));
  auto silent = server.http().Connect();
  silent.Send("\x16\x03\x01");
  auto client = server.Connect({.ca = authority.certificate()});
  CHECK(Serves(client));
  server.http().server.Stop(milliseconds(20));
  CHECK(silent.AtEnd());
  CHECK(client.Ask(Get("/hello")) == "");
}

}  // namespace
}  // namespace partage::test
