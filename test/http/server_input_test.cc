// SPDX-License-Identifier: Apache-2.0
// What clients get for wrong requests. After each of them the server still serves.

#include <catch2/catch.hpp>
#include <random>

#include "test/http/test_server.h"

namespace partage::test {
namespace {

void CheckHealthy(const TestServer& http) { CHECK(BodyOf(http.Connect().Ask(Get("/hello"))) == "hello"); }

/// The answer, after which the connection must be closed.
std::string LastAnswer(const TestServer& http, std::string_view request) {
  auto client = http.Connect();
  auto response = client.Ask(request);
  CHECK(response.find("Connection: close\r\n") != response.npos);
  CHECK(client.AtEnd());
  CheckHealthy(http);
  return response;
}

TEST_CASE("An unknown path is 404, a wrong method 405 with Allow, and the connection lives on") {
  TestServer http;
  auto client = http.Connect();
  const auto unknown = client.Ask(Get("/nowhere"));
  CHECK(StatusOf(unknown) == 404);
  CHECK(BodyOf(unknown).find("{\"error\":\"no such path: /nowhere; there is /big, ") == 0);
  const auto wrong = client.Ask(Get("/echo"));
  CHECK(StatusOf(wrong) == 405);
  CHECK(wrong.find("Allow: POST\r\n") != wrong.npos);
  CHECK(BodyOf(client.Ask(Get("/hello"))) == "hello");
}

TEST_CASE("A body nobody wants is not read: the answer comes and the connection closes") {
  TestServer http;
  CHECK(StatusOf(LastAnswer(http, Post("/nowhere", std::string(3'000'000, 'x')))) == 404);
  CHECK(StatusOf(LastAnswer(http, Post("/hello", std::string(3'000'000, 'x')))) == 405);
}

TEST_CASE("Garbage is 400 and says what the port speaks") {
  TestServer http;
  const auto response = LastAnswer(http, "\x16\x03\x01\x02 garbage");
  CHECK(StatusOf(response) == 400);
  CHECK(BodyOf(response).find("plain HTTP/1.1") != std::string::npos);
  CHECK(StatusOf(LastAnswer(http, "GET /hello HTTP/1.1\r\nbroken\r\n\r\n")) == 400);
  CHECK(StatusOf(LastAnswer(http, "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")) == 400);
}

TEST_CASE("A body over the limit is 413, announced or chunked") {
  TestServer http({.max_body = 1000});
  CHECK(StatusOf(LastAnswer(http, Post("/echo", std::string(1001, 'x')))) == 413);
  CHECK(StatusOf(LastAnswer(http, "POST /echo HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n")) == 413);
  CHECK(StatusOf(LastAnswer(http, "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n")) == 413);
  CHECK(BodyOf(http.Connect().Ask(Post("/echo", std::string(1000, 'x')))).size() == 1000);
}

TEST_CASE("A client still sending a refused body receives the answer, not a reset") {
  TestServer http({.max_body = 1000});
  auto client = http.Connect();
  client.Send("POST /echo HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n");
  client.Send(std::string(2'000'000, 'x'));
  CHECK(StatusOf(client.Receive()) == 413);
}

TEST_CASE("A header over 16 KiB is 431") {
  TestServer http;
  CHECK(StatusOf(LastAnswer(http, Get("/hello", "A: " + std::string(17000, 'x') + "\r\n"))) == 431);
  CHECK(StatusOf(http.Connect().Ask(Get("/hello", "A: " + std::string(15000, 'x') + "\r\n"))) == 200);
}

TEST_CASE("A client that disappears in the middle of a request harms nobody") {
  TestServer http;
  const auto request = Post("/echo", std::string(100'000, 'x'));
  for (const std::size_t sent : {1, 20, 90, 5000, 100'000}) {
    auto gone = http.Connect(), reset = http.Connect();
    gone.Send(request.substr(0, sent));
    reset.Send(request.substr(0, sent));
    gone.Close();
    reset.Reset();
    CheckHealthy(http);
  }
}

TEST_CASE("Random bytes on many connections end none but their own") {
  TestServer http({.header_timeout = std::chrono::milliseconds(50)});
  std::mt19937 random(3);
  for (int i = 0; i < 200; ++i) {
    std::string bytes = i % 2 ? Post("/echo", "some body") : std::string(300, 'x');
    for (int n = 0; n < 4; ++n) bytes[random() % bytes.size()] = static_cast<char>(random());
    http.Connect().Send(bytes);
  }
  CheckHealthy(http);
}

}  // namespace
}  // namespace partage::test
