// SPDX-License-Identifier: Apache-2.0

#include <catch2/catch.hpp>

#include "http/server.h"

namespace partage::http {
namespace {

void CheckParses(std::string_view text, std::string_view host, int port) {
  const auto endpoint = ParseEndpoint(text);
  INFO(text);
  REQUIRE(endpoint);
  CHECK(endpoint->host == host);
  CHECK(endpoint->port == port);
}

std::string ErrorOf(std::string_view text) {
  const auto endpoint = ParseEndpoint(text);
  INFO(text);
  REQUIRE_FALSE(endpoint);
  CHECK(endpoint.error().code == Code::kInvalid);
  CHECK(endpoint.error().message.find("\"" + std::string(text) + "\"") != std::string::npos);
  return endpoint.error().message;
}

TEST_CASE("An address is a host and a port") {
  CheckParses("127.0.0.1:9395", "127.0.0.1", 9395);
  CheckParses("localhost:0", "localhost", 0);
  CheckParses("[::1]:80", "::1", 80);
}

TEST_CASE("An address without host means all addresses") { CheckParses(":65535", "", 65535); }

TEST_CASE("A wrong address is refused with its text and the fault") {
  CHECK(ErrorOf("127.0.0.1").find("no port") != std::string::npos);
  CHECK(ErrorOf("host:").find("port \"\"") != std::string::npos);
  CHECK(ErrorOf("host:65536").find("0 to 65535") != std::string::npos);
  CHECK(ErrorOf("host:-1").find("port \"-1\"") != std::string::npos);
  CHECK(ErrorOf("host:80x").find("port \"80x\"") != std::string::npos);
  CHECK(ErrorOf("::1:80").find("write [::1]") != std::string::npos);
  CHECK(ErrorOf("http://a:80").find("host") != std::string::npos);
  CHECK(ErrorOf("a b:80").find("neither a name nor an address") != std::string::npos);
  ErrorOf("");
}

TEST_CASE("A query parameter is found by its name and decoded") {
  CHECK(QueryParameter("pod=a%2Fb&node=n+1", "pod") == "a/b");
  CHECK(QueryParameter("pod=a%2Fb&node=n+1", "node") == "n 1");
  CHECK(QueryParameter("p%6Fd=x", "pod") == "x");
}

TEST_CASE("An absent, empty or valueless query parameter is empty, and the first of two counts") {
  CHECK(QueryParameter("", "pod").empty());
  CHECK(QueryParameter("podx=1", "pod").empty());
  CHECK(QueryParameter("pod", "pod").empty());
  CHECK(QueryParameter("pod=&pod=2", "pod").empty());
  CHECK(QueryParameter("&&pod=1&pod=2&", "pod") == "1");
}

TEST_CASE("A broken percent escape stays as it is") {
  CHECK(QueryParameter("a=100%", "a") == "100%");
  CHECK(QueryParameter("a=%zz%4", "a") == "%zz%4");
  CHECK(QueryParameter("a=b=c", "a") == "b=c");
}

}  // namespace
}  // namespace partage::http
