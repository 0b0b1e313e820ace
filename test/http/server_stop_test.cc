// SPDX-License-Identifier: Apache-2.0

#include <catch2/catch.hpp>
#include <future>
#include <thread>

#include "test/http/test_server.h"

namespace partage::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_CASE("Stop closes idle connections and waits for running requests, whose answers say that the connection ends") {
  TestServer http;
  auto idle = http.Connect(), running = http.Connect();
  CHECK(StatusOf(idle.Ask(Get("/hello"))) == 200);
  running.Send(Post("/later", "x"));
  auto waiting = http.desk.Take();
  auto stopped = std::async(std::launch::async, [&] { http.server.Stop(seconds(10)); });
  CHECK(idle.AtEnd());
  CHECK(stopped.wait_for(milliseconds(20)) == std::future_status::timeout);
  waiting.respond({.body = "done"});
  const auto response = running.Receive();
  CHECK(BodyOf(response) == "done");
  CHECK(response.find("Connection: close\r\n") != response.npos);
  CHECK(running.AtEnd());
  CHECK(stopped.wait_for(seconds(5)) == std::future_status::ready);
}

TEST_CASE("Stop lets a request that is half received finish within the grace") {
  TestServer http({.threads = 1});
  auto idle = http.Connect(), client = http.Connect();
  const auto request = Post("/echo", "two halves");
  for (auto* known : {&idle, &client}) CHECK(StatusOf(known->Ask(Get("/hello"))) == 200);
  client.Send(request.substr(0, 20));
  CHECK(StatusOf(idle.Ask(Get("/hello"))) == 200);  // sent later to the same thread: by now the half has been seen
  auto stopped = std::async(std::launch::async, [&] { http.server.Stop(seconds(10)); });
  CHECK(idle.AtEnd());
  client.Send(request.substr(20));
  CHECK(BodyOf(client.Receive()) == "two halves");
}

TEST_CASE("Stop does not wait longer than the grace for a handler that never answers") {
  TestServer http;
  auto client = http.Connect();
  client.Send(Post("/later", "x"));
  auto waiting = http.desk.Take();
  const auto begin = std::chrono::steady_clock::now();
  http.server.Stop(milliseconds(50));
  CHECK(std::chrono::steady_clock::now() - begin < seconds(3));
  CHECK(client.AtEnd());
  waiting.respond({.body = "nobody hears"});
}

TEST_CASE("A stopped server accepts no connection, and stopping again changes nothing") {
  TestServer http;
  http.server.Stop(milliseconds(0));
  http.server.Stop(milliseconds(0));
  CHECK_THROWS(http.Connect());
}

TEST_CASE("A server that was never started stops at once") {
  http::Server server({});
  server.Stop(seconds(10));
}

TEST_CASE("A port in use is refused with the address and the reason") {
  TestServer first;
  http::Server second({.port = first.server.port()});
  const auto started = second.Start();
  REQUIRE_FALSE(started);
  CHECK(started.error().code == Code::kUnavailable);
  const auto address = "listen on 127.0.0.1:" + std::to_string(first.server.port()) + ": Address already in use";
  CHECK(started.error().message.find(address) == 0);
  CHECK(BodyOf(first.Connect().Ask(Get("/hello"))) == "hello");
}

TEST_CASE("A host that is no address of this machine is refused") {
  const auto foreign = http::Server({.host = "203.0.113.7"}).Start();
  REQUIRE_FALSE(foreign);
  CHECK(foreign.error().code == Code::kUnavailable);
  const auto nonsense = http::Server({.host = "no such host"}).Start();
  REQUIRE_FALSE(nonsense);
  CHECK(nonsense.error().message.find("no such host") != std::string::npos);
}

TEST_CASE("An empty host serves on all addresses, IPv4 among them") {
  TestServer http({.host = ""});
  CHECK(BodyOf(http.Connect().Ask(Get("/hello"))) == "hello");
}

TEST_CASE("Servers started and stopped under load leave nothing behind") {
  for (int i = 0; i < 20; ++i) {
    TestServer http;
    std::jthread load([&, port = http.server.port()] {
      try {
        for (RawClient client(port); StatusOf(client.Ask(Post("/echo", std::string(20'000, 'x')))) == 200;) continue;
      } catch (const std::exception&) {
      }
    });
    CHECK(BodyOf(http.Connect().Ask(Get("/hello"))) == "hello");
    http.server.Stop(milliseconds(100));
  }
}

}  // namespace
}  // namespace partage::test
