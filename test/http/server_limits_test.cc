// SPDX-License-Identifier: Apache-2.0
// Slow, silent and too many clients.

#include <sys/resource.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "test/http/test_server.h"

namespace partage::test {
namespace {

using std::chrono::milliseconds;

std::vector<RawClient> Clients(const TestServer& http, std::size_t count, std::string_view send) {
  std::vector<RawClient> clients;
  for (std::size_t i = 0; i < count; ++i) {
    clients.push_back(http.Connect());
    clients.back().Send(send);
  }
  return clients;
}

void CheckAllTimedOut(std::vector<RawClient>& clients, std::string_view what) {
  for (auto& client : clients) {
    const auto response = client.Receive();
    CHECK(StatusOf(response) == 408);
    CHECK(BodyOf(response).find(what) != std::string::npos);
    CHECK(client.AtEnd());
  }
}

TEST_CASE("Two hundred half-open connections time out while a healthy client is served") {
  TestServer http({.header_timeout = milliseconds(150), .body_timeout = milliseconds(150)});
  auto in_header = Clients(http, 100, "POST /echo HTTP/1.1\r\nHos");
  auto in_body = Clients(http, 100, "POST /echo HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf");
  auto healthy = http.Connect();
  for (int i = 0; i < 50; ++i) CHECK(BodyOf(healthy.Ask(Get("/hello"))) == "hello");
  CheckAllTimedOut(in_header, "header did not arrive within 150 ms");
  CheckAllTimedOut(in_body, "body did not arrive within 150 ms");
  CHECK(BodyOf(healthy.Ask(Get("/hello"))) == "hello");
}

TEST_CASE("A trickle does not prolong the time-out") {
  TestServer http({.header_timeout = milliseconds(100)});
  auto client = http.Connect();
  client.Send("GET /hello HTTP/1.1\r\nA: ");
  int trickled = 0;
  while (!client.Readable(milliseconds(10)) && trickled < 500) trickled += client.Send("x");
  CHECK(trickled < 500);
  CHECK(StatusOf(client.Receive()) == 408);
}

TEST_CASE("A chunked body that stops coming times out") {
  TestServer http({.body_timeout = milliseconds(60)});
  auto clients = Clients(http, 1, "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
  CheckAllTimedOut(clients, "body");
}

TEST_CASE("An idle connection is closed without a word") {
  TestServer http({.idle_timeout = milliseconds(60)});
  auto fresh = http.Connect(), used = http.Connect();
  CHECK(StatusOf(used.Ask(Get("/hello"))) == 200);
  CHECK(fresh.AtEnd());
  CHECK(used.AtEnd());
}

TEST_CASE("A client that does not read its answer is dropped, and the server goes on") {
  TestServer http({.body_timeout = milliseconds(20)});
  auto deaf = http.Connect();
  for (int i = 0; i < 20; ++i) deaf.Send(Get("/big"));
  auto healthy = http.Connect();
  CHECK(BodyOf(healthy.Ask(Get("/hello"))) == "hello");
}

TEST_CASE("A handler may take longer than every time-out") {
  TestServer http({.header_timeout = milliseconds(20), .body_timeout = milliseconds(20), .idle_timeout = milliseconds(20)});
  auto client = http.Connect(), idle = http.Connect();
  client.Send(Post("/later", "x"));
  auto waiting = http.desk.Take();
  CHECK(idle.AtEnd());  // its time-out has passed, so the other's would have
  waiting.respond({.body = "at last"});
  CHECK(BodyOf(client.Receive()) == "at last");
}

TEST_CASE("Past the limit the longest idle connections make room for new ones") {
  TestServer http({.max_connections = 10});
  std::vector<RawClient> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(http.Connect());
    CHECK(StatusOf(clients.back().Ask(Get("/hello"))) == 200);
  }
  CHECK(StatusOf(clients[0].Ask(Get("/hello"))) == 200);  // now the second is the longest idle
  CHECK(StatusOf(http.Connect().Ask(Get("/hello"))) == 200);
  CHECK(clients[1].AtEnd());
  CHECK(StatusOf(clients[0].Ask(Get("/hello"))) == 200);
}

TEST_CASE("Past the limit with none idle a new connection is told so") {
  TestServer http({.max_connections = 3});
  auto busy = Clients(http, 3, Post("/later", "x"));
  std::vector<Desk::Case> cases;
  for (int i = 0; i < 3; ++i) cases.push_back(http.desk.Take());
  auto refused = http.Connect();
  const auto response = refused.Receive();
  CHECK(StatusOf(response) == 503);
  CHECK(BodyOf(response) == R"({"error":"too many connections are open; try later"})");
  CHECK(refused.AtEnd());
  for (auto& waiting : cases) waiting.respond({});
  for (auto& client : busy) CHECK(StatusOf(client.Receive()) == 200);
}

/// Leaves the process a number of file descriptors to open, for a scope.
class DescriptorsLeft {
 public:
  explicit DescriptorsLeft(rlim_t count) {
    const int lowest = ::dup(0);
    ::close(lowest);
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit tight{static_cast<rlim_t>(lowest) + count, before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &tight);
  }
  ~DescriptorsLeft() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  DescriptorsLeft(const DescriptorsLeft&) = delete;
  DescriptorsLeft& operator=(const DescriptorsLeft&) = delete;

 private:
  rlimit before_;
};

TEST_CASE("Out of file descriptors, idle connections make room for a new one") {
  TestServer http({.header_timeout = milliseconds(80)});
  auto idle = http.Connect();
  CHECK(StatusOf(idle.Ask(Get("/hello"))) == 200);
  const DescriptorsLeft left(1);
  auto client = http.Connect();
  CHECK(BodyOf(client.Ask(Get("/hello"))) == "hello");
  CHECK(idle.AtEnd());
}

TEST_CASE("Out of file descriptors with none idle, a connection waits until there is one") {
  TestServer http({.header_timeout = milliseconds(80)});
  auto left = std::make_unique<DescriptorsLeft>(1);
  auto client = http.Connect();
  client.Send(Get("/hello"));
  CHECK_FALSE(client.Readable(milliseconds(30)));
  left.reset();
  CHECK(BodyOf(client.Receive()) == "hello");
}

}  // namespace
}  // namespace partage::test
