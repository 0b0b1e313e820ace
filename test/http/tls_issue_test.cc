// SPDX-License-Identifier: Apache-2.0
// A server that is given an authority and issues its certificates itself.

#include <catch2/catch.hpp>

#include "http/certificate_issuer.h"
#include "test/http/tls_server.h"

namespace partage::test {
namespace {

using http::IssueServerCertificate;
using std::chrono::hours;
using Kind = http::TlsEvent::Kind;

Identity Whole(const Authority& authority) { return {authority.certificate(), authority.key()}; }

http::TlsOptions Issuing(std::chrono::seconds renew_before) {
  http::TlsOptions tls;
  tls.names = {"webhook.partage.svc", "127.0.0.1"};
  tls.issue_for = std::chrono::minutes(30);
  tls.renew_before = renew_before;
  return tls;
}

TEST_CASE("A server with an authority shows a certificate of that authority, which who trusts another does not take") {
  const Authority authority, stranger;
  TlsTestServer server(Whole(authority), "", std::chrono::seconds(5), Issuing(std::chrono::minutes(10)));
  CHECK(StatusOf(server.Connect({.ca = authority.certificate()}).Ask(Get("/hello"))) == 200);
  auto refused = server.Connect({.ca = stranger.certificate()});
  CHECK(refused.Ask(Get("/hello")).empty());
  CHECK_THAT(refused.fault(), Catch::Contains("certificate verify failed"));
}

TEST_CASE("A certificate is issued anew before it ends, and not sooner") {
  const Authority authority;
  TlsTestServer due(Whole(authority), "", std::chrono::seconds(5), Issuing(std::chrono::minutes(30)));
  const std::string first = due.Connect({.ca = authority.certificate()}).serial();
  REQUIRE(due.Wait(Kind::kLoaded, 4));
  auto later = due.Connect({.ca = authority.certificate()});
  CHECK(later.serial() != first);
  CHECK(StatusOf(later.Ask(Get("/hello"))) == 200);

  TlsTestServer not_due(Whole(authority), "", std::chrono::seconds(5), Issuing(std::chrono::minutes(29)));
  const std::string only = not_due.Connect({.ca = authority.certificate()}).serial();
  REQUIRE(due.Wait(Kind::kLoaded, due.Count(Kind::kLoaded) + 5));
  CHECK(not_due.Count(Kind::kLoaded) == 1);
  CHECK(not_due.Connect({.ca = authority.certificate()}).serial() == only);
}

TEST_CASE("Another authority in the files issues from then on, and a broken one changes nothing") {
  const Authority first, second;
  TlsTestServer server(Whole(first), "", std::chrono::seconds(5), Issuing(std::chrono::minutes(10)));
  server.WriteKey("half a key");
  REQUIRE(server.Wait(Kind::kRejected, 1));
  CHECK(StatusOf(server.Connect({.ca = first.certificate()}).Ask(Get("/hello"))) == 200);
  server.Write(Whole(second));
  REQUIRE(server.Wait(Kind::kLoaded, 2));
  CHECK(StatusOf(server.Connect({.ca = second.certificate()}).Ask(Get("/hello"))) == 200);
}

TEST_CASE("An authority that ends soon is not asked again and again for what it cannot give") {
  const Authority authority;  // good for an hour
  auto tls = Issuing(hours(5));
  tls.issue_for = hours(10);
  TlsTestServer server(Whole(authority), "", std::chrono::seconds(5), tls);
  TlsTestServer busy(Whole(authority), "", std::chrono::seconds(5), Issuing(std::chrono::minutes(30)));
  REQUIRE(busy.Wait(Kind::kLoaded, 6));
  CHECK(server.Count(Kind::kLoaded) == 1);
}

TEST_CASE("A certificate issued for a server does not open a door that asks for clients' certificates") {
  const Authority authority;
  const auto issued = IssueServerCertificate(authority.certificate(), authority.key(), {"a"}, hours(1));
  REQUIRE(issued);
  TlsTestServer server(authority.Issue(kLoopback), authority.certificate());
  CHECK(server.Connect({.ca = authority.certificate(), .identity = {issued->certificate, issued->key}}).Ask(Get("/hello")).empty());
  CHECK(StatusOf(server.Connect({.ca = authority.certificate(), .identity = authority.Issue("DNS:a")}).Ask(Get("/hello"))) == 200);
}

TEST_CASE("What cannot issue is refused by name") {
  const Authority authority, other;
  const auto leaf = authority.Issue("DNS:leaf");
  const auto fault = [&](const std::string& certificate, const std::string& key, const std::string& name = "a") {
    const auto issued = IssueServerCertificate(certificate, key, {name}, hours(1));
    return issued ? std::string() : issued.error().message;
  };
  CHECK(fault(authority.certificate(), authority.key()).empty());
  CHECK_THAT(fault("none", authority.key()), Catch::Contains("certificate is no PEM"));
  CHECK_THAT(fault(authority.certificate(), "none"), Catch::Contains("key is no PEM"));
  CHECK_THAT(fault(authority.certificate(), other.key()), Catch::Contains("not that of its certificate"));
  CHECK_THAT(fault(leaf.certificate, leaf.key), Catch::Contains("not an authority's"));
  for (const char* name : {"", "a b", "a,DNS:b", "ä"})
    CHECK_THAT(fault(authority.certificate(), authority.key(), name), Catch::Contains("no name"));
}

}  // namespace
}  // namespace partage::test
