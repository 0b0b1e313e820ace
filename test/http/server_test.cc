// SPDX-License-Identifier: Apache-2.0

#include "http/server.h"

#include <catch2/catch.hpp>
#include <thread>

#include "test/http/test_server.h"

namespace partage::test {
namespace {

TEST_CASE("One connection serves many requests") {
  TestServer http;
  auto client = http.Connect();
  for (int i = 0; i < 100; ++i) {
    const auto response = client.Ask(Post("/echo", "number " + std::to_string(i)));
    CHECK(StatusOf(response) == 200);
    CHECK(BodyOf(response) == "number " + std::to_string(i));
    CHECK(response.find("Connection: close") == response.npos);
  }
}

TEST_CASE("A request sent byte by byte is served") {
  TestServer http;
  auto client = http.Connect();
  for (const char byte : Post("/echo", "split")) client.Send({&byte, 1});
  CHECK(BodyOf(client.Receive()) == "split");
}

TEST_CASE("Pipelined requests are answered in order") {
  TestServer http;
  auto client = http.Connect();
  std::string batch;
  for (int i = 0; i < 50; ++i)
    batch += Post("/echo", std::string(static_cast<std::size_t>(i) * 100, static_cast<char>('a' + i % 26))) + Get("/hello");
  client.Send(batch);
  for (int i = 0; i < 50; ++i) {
    CHECK(BodyOf(client.Receive()) == std::string(static_cast<std::size_t>(i) * 100, static_cast<char>('a' + i % 26)));
    CHECK(BodyOf(client.Receive()) == "hello");
  }
}

TEST_CASE("A pipelined request waits for the one before it, also when that is answered later by another thread") {
  TestServer http;
  auto client = http.Connect();
  client.Send(Post("/later", "x") + Get("/hello"));
  auto waiting = http.desk.Take();
  waiting.respond({.body = "first"});
  CHECK(BodyOf(client.Receive()) == "first");
  CHECK(BodyOf(client.Receive()) == "hello");
}

TEST_CASE("A large body arrives whole, at once or in pieces") {
  TestServer http;
  std::string body(3'000'000, '\0');
  for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>('a' + i % 23);
  auto client = http.Connect();
  CHECK(BodyOf(client.Ask(Post("/echo", body))) == body);
  const auto request = Post("/echo", body);
  for (std::size_t at = 0; at < request.size(); at += 77'777) client.Send(std::string_view(request).substr(at, 77'777));
  CHECK(BodyOf(client.Receive()) == body);
}

TEST_CASE("A chunked body arrives joined, and the connection goes on") {
  TestServer http;
  auto client = http.Connect();
  const std::string header = "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  CHECK(BodyOf(client.Ask(header + "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" + Get("/hello"))) == "abcde");
  CHECK(BodyOf(client.Receive()) == "hello");
  std::string many = header;
  for (int i = 0; i < 1000; ++i) many += "64\r\n" + std::string(100, 'x') + "\r\n";
  CHECK(BodyOf(client.Ask(many + "0\r\n\r\n")).size() == 100'000);
}

TEST_CASE("A client that expects 100 Continue gets it before it sends the body") {
  TestServer http;
  auto client = http.Connect();
  CHECK(StatusOf(client.Ask("POST /echo HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")) == 100);
  CHECK(BodyOf(client.Ask("body")) == "body");
  CHECK(StatusOf(client.Ask("POST /nowhere HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")) == 404);
}

TEST_CASE("An answer of several megabytes is sent whole") {
  TestServer http;
  auto client = http.Connect();
  const auto response = client.Ask(Get("/big"));
  CHECK(BodyOf(response) == std::string(kBig, 'b'));
  CHECK(response.find("Content-Type: text/plain\r\n") != response.npos);
  CHECK(BodyOf(client.Ask(Get("/hello"))) == "hello");
}

TEST_CASE("HEAD says what GET would, without the body") {
  TestServer http;
  auto client = http.Connect();
  client.Send("HEAD /hello HTTP/1.1\r\n\r\n");
  CHECK(client.Receive(false).find("Content-Length: 5\r\n") != std::string::npos);
  CHECK(BodyOf(client.Ask(Get("/hello"))) == "hello");
}

TEST_CASE("The query reaches the handler as it was sent") {
  TestServer http;
  CHECK(BodyOf(http.Connect().Ask(Get("/query?pod=a%2Fb&x"))) == "pod=a%2Fb&x");
}

TEST_CASE("A connection is closed when its client asks for that, or speaks HTTP/1.0") {
  TestServer http;
  auto asking = http.Connect(), old = http.Connect();
  CHECK(asking.Ask(Get("/hello", "Connection: close\r\n")).find("Connection: close\r\n") != std::string::npos);
  CHECK(asking.AtEnd());
  CHECK(BodyOf(old.Ask("GET /hello HTTP/1.0\r\n\r\n")) == "hello");
  CHECK(old.AtEnd());
}

TEST_CASE("Many clients at once are all served") {
  TestServer http({.threads = 3});
  std::atomic<int> served = 0;
  std::vector<std::jthread> clients;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&] {
      auto client = http.Connect();
      for (int i = 0; i < 100; ++i) served += BodyOf(client.Ask(Post("/echo", std::string(5000, 'x')))).size() == 5000;
    });
  }
  clients.clear();
  CHECK(served == 800);
}

}  // namespace
}  // namespace partage::test
