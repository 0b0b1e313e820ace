// SPDX-License-Identifier: Apache-2.0
#include "cli/http.h"

#include <catch2/catch.hpp>

#include "http/server.h"

namespace partage::cli {
namespace {

TEST_CASE("An address must be one") {
  for (const char* url : {"", "127.0.0.1:80", "https://127.0.0.1:80", "http://"}) {
    const auto client = HttpClient::Make(url);
    REQUIRE_FALSE(client.has_value());
    CHECK(client.error().message.find("write it as http://HOST:PORT") != std::string::npos);
  }
}

TEST_CASE("Requests go to the server, below the address' own path") {
  http::Server server({});
  server.Route("POST", "/scheduler/filter", [](const http::Request& request, http::Respond respond) {
    respond({200, std::string(request.body), "text/plain"});
  });
  REQUIRE(server.Start().has_value());
  auto client = HttpClient::Make("http://127.0.0.1:" + std::to_string(server.port()) + "/scheduler/").value();
  CHECK(BodyOf(client.Post("/filter", "{}"), "filter").value() == "{}");
  const auto missing = BodyOf(client.Get("/nothing"), "nothing");
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().message.find("nothing: status 404: ") == 0);
}

TEST_CASE("A server that is not there is named") {
  http::Server server({});
  REQUIRE(server.Start().has_value());
  const std::string url = "http://127.0.0.1:" + std::to_string(server.port());
  server.Stop(std::chrono::milliseconds(0));
  const auto reply = HttpClient::Make(url).value().Get("/x");
  REQUIRE_FALSE(reply.has_value());
  CHECK(reply.error().code == Code::kUnavailable);
  CHECK(reply.error().message.find(url + "/x: ") == 0);
}

TEST_CASE("A parameter is percent-encoded") { CHECK(EncodeParameter("a/b&c d%") == "a/b%26c%20d%25"); }

}  // namespace
}  // namespace partage::cli
