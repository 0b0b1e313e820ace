// SPDX-License-Identifier: Apache-2.0
// Every way a handler may answer, or fail to.

#include <catch2/catch.hpp>
#include <optional>
#include <thread>

#include "test/http/test_server.h"

namespace partage::test {
namespace {

TEST_CASE("A handler may answer later from another thread, with the request still readable") {
  TestServer http;
  auto client = http.Connect();
  client.Send(Post("/later", "the body"));
  std::jthread([waiting = http.desk.Take()] { waiting.respond({.status = 201, .body = "got " + std::string(waiting.request->body)}); });
  const auto response = client.Receive();
  CHECK(StatusOf(response) == 201);
  CHECK(BodyOf(response) == "got the body");
}

TEST_CASE("A slow handler on one connection does not hold up another") {
  TestServer http({.threads = 1});
  auto slow = http.Connect(), quick = http.Connect();
  slow.Send(Post("/later", "x"));
  auto waiting = http.desk.Take();
  CHECK(BodyOf(quick.Ask(Get("/hello"))) == "hello");
  waiting.respond({});
  CHECK(StatusOf(slow.Receive()) == 200);
}

TEST_CASE("A dropped Respond and a throw are 500, and the connection lives on") {
  TestServer http;
  auto client = http.Connect();
  for (const auto* path : {"/drop", "/throw"}) {
    const auto response = client.Ask(Get(path));
    CHECK(StatusOf(response) == 500);
    CHECK(BodyOf(response).find("its log says more") != std::string::npos);
  }
  CHECK(BodyOf(client.Ask(Get("/hello"))) == "hello");
}

TEST_CASE("A Respond dropped by another thread is 500") {
  TestServer http;
  auto client = http.Connect();
  client.Send(Post("/later", "x"));
  std::jthread([&] { http.desk.Take(); });
  CHECK(StatusOf(client.Receive()) == 500);
}

TEST_CASE("An answer may end its connection") {
  TestServer http;
  auto client = http.Connect();
  client.Send(Post("/later", "x"));
  http.desk.Take().respond({.body = "elsewhere", .close = true});
  const auto response = client.Receive();
  CHECK(BodyOf(response) == "elsewhere");
  CHECK(response.find("Connection: close\r\n") != response.npos);
  CHECK(client.AtEnd());
}

TEST_CASE("The second call of a Respond does nothing") {
  TestServer http;
  auto client = http.Connect();
  client.Send(Post("/later", "x"));
  auto waiting = http.desk.Take();
  waiting.respond({.body = "one"});
  waiting.respond({.body = "two"});
  CHECK(BodyOf(client.Receive()) == "one");
  CHECK(BodyOf(client.Ask(Get("/hello"))) == "hello");
  waiting.respond({.body = "three"});
  CHECK(BodyOf(client.Ask(Get("/hello"))) == "hello");
}

TEST_CASE("An answer for a client that has gone is dropped") {
  TestServer http;
  for (int i = 0; i < 20; ++i) {
    auto client = http.Connect();
    client.Send(Post("/later", "some body"));
    auto waiting = http.desk.Take();
    client.Reset();
    CHECK(waiting.request->body == "some body");
    waiting.respond({.body = std::string(100'000, 'x')});
  }
  CHECK(BodyOf(http.Connect().Ask(Get("/hello"))) == "hello");
}

TEST_CASE("An answer after the server has gone is dropped, with the request readable until then") {
  std::optional<Desk::Case> waiting;
  std::optional<RawClient> client;
  {
    TestServer http;
    client.emplace(http.Connect());
    client->Send(Post("/later", "some body"));
    waiting = http.desk.Take();
  }
  CHECK(client->AtEnd());
  CHECK(waiting->request->body == "some body");
  waiting->respond({.body = "too late"});
}

}  // namespace
}  // namespace partage::test
