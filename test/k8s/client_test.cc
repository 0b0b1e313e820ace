// SPDX-License-Identifier: Apache-2.0
#include "k8s/client/client.h"

#include <atomic>
#include <future>
#include <thread>

#include <catch2/catch.hpp>

#include "test/support/fake_api_server.h"
#include "test/support/manual_clock.h"
#include "test/support/temp_folder.h"

namespace partage::k8s {
namespace {

using namespace std::chrono_literals;
using test::ApiCall;
using test::FakeApiServer;
using test::Fault;
using test::Kind;
using test::Verb;

constexpr const char* kPod = "/api/v1/namespaces/ns/pods/p";
constexpr const char* kBinding = "/api/v1/namespaces/ns/pods/p/binding";
constexpr const char* kBindBody = R"({"metadata":{"name":"p","annotations":{"k":"v"}},"target":{"name":"n1"}})";

struct Fixture {
  FakeApiServer api;
  test::ManualClock clock;
  ClientConfig config;

  Fixture() {
    config.server = api.url();
    api.Put(Kind::kPods, R"({"metadata":{"name":"p","namespace":"ns"},"spec":{}})");
  }
  std::unique_ptr<Client> MakeClient() {
    auto client = Client::Make(config, clock);
    REQUIRE(client.has_value());
    return *std::move(client);
  }
  /// Every call of `verb` gets the fault.
  void FaultOn(Verb verb, Fault fault) {
    api.OnCall([=](const ApiCall& call) { return call.verb == verb ? fault : Fault{}; });
  }
  bool Bound() { return api.Get(Kind::kPods, "ns/p")->at("spec").contains("nodeName"); }
};

Code CodeOf(const Result<Reply>& reply) {
  REQUIRE_FALSE(reply.has_value());
  return reply.error().code;
}

TEST_CASE("Requests share one keep-alive connection while they come one after the other") {
  Fixture t;
  const auto client = t.MakeClient();
  for (int i = 0; i < 20; ++i) CHECK(client->Get(kPod)->status == 200);
  CHECK(client->Post(kBinding, kBindBody)->status == 201);
  CHECK(client->Patch(kPod, R"({"metadata":{"annotations":{"a":"b"}}})", "application/merge-patch+json")->status == 200);
  CHECK(client->Delete(std::string(kPod) + "?gracePeriodSeconds=0")->status == 200);
  CHECK(client->Get(kPod)->status == 404);
  CHECK(t.api.Connections() == 1);
}

TEST_CASE("No more than max_connections are opened, and who comes later waits") {
  Fixture t;
  t.config.max_connections = 2;
  const auto client = t.MakeClient();
  t.FaultOn(Verb::kGet, {.latency = 5ms});
  std::vector<std::jthread> callers;
  std::atomic<int> good{0};
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&] {
      for (int round = 0; round < 5; ++round) good += client->Get(kPod)->status == 200;
    });
  }
  callers.clear();
  CHECK(good == 40);
  CHECK(t.api.Connections() <= 2);
}

TEST_CASE("A connection that the server closed while idle is replaced without an error") {
  Fixture t;
  const auto client = t.MakeClient();
  for (int round = 0; round < 3; ++round) {
    REQUIRE(client->Get(kPod)->status == 200);
    t.api.CloseIdleConnections();
    std::this_thread::sleep_for(1ms);  // the goodbye travels
  }
  REQUIRE(client->Post(kBinding, kBindBody)->status == 201);
  CHECK(t.api.Calls(Verb::kBind) == 1);
  CHECK(t.api.Connections() == 4);
}

TEST_CASE("A connection idle for over half a minute is not used again") {
  Fixture t;
  const auto client = t.MakeClient();
  REQUIRE(client->Get(kPod)->status == 200);
  t.clock.Advance(31s);
  REQUIRE(client->Get(kPod)->status == 200);
  CHECK(t.api.Connections() == 2);
}

TEST_CASE("A refused connection is kUnavailable and names the server") {
  Fixture t;
  const auto client = t.MakeClient();
  t.api.Stop();
  const auto reply = client->Post(kBinding, kBindBody);
  REQUIRE(CodeOf(reply) == Code::kUnavailable);
  CHECK_THAT(reply.error().message,
             Catch::Contains("cannot connect to 127.0.0.1:" + std::to_string(t.api.port())) && Catch::Contains("refused"));
  CHECK_FALSE(t.Bound());
  t.api.Start();
  CHECK(client->Post(kBinding, kBindBody)->status == 201);
}

TEST_CASE("A name that does not resolve is kUnavailable") {
  Fixture t;
  t.config.server = "http://no-such-host.invalid:1";
  CHECK(CodeOf(t.MakeClient()->Get("/x")) == Code::kUnavailable);
}

TEST_CASE("A lost reply is kUnknown, and the write is not repeated") {
  Fixture t;
  for (const bool reset : {false, true}) {
    t.api.Put(Kind::kPods, R"({"metadata":{"name":"p","namespace":"ns"},"spec":{}})");
    const auto client = t.MakeClient();
    REQUIRE(client->Get(kPod)->status == 200);
    t.FaultOn(Verb::kBind, {.close_after = true, .reset = reset});
    const auto before = t.api.Calls(Verb::kBind);
    CHECK(CodeOf(client->Post(kBinding, kBindBody)) == Code::kUnknown);
    CHECK(t.api.Calls(Verb::kBind) == before + 1);
    CHECK(t.Bound());
  }
}

TEST_CASE("A write that the server dropped unexecuted is kUnknown too: nobody can tell") {
  Fixture t;
  const auto client = t.MakeClient();
  REQUIRE(client->Get(kPod)->status == 200);
  t.FaultOn(Verb::kBind, {.close_before = true});
  CHECK(CodeOf(client->Post(kBinding, kBindBody)) == Code::kUnknown);
  CHECK(t.api.Calls(Verb::kBind) == 1);
  CHECK_FALSE(t.Bound());
}

TEST_CASE("A GET on a reused connection that got no answer is repeated once on a fresh one") {
  Fixture t;
  const auto client = t.MakeClient();
  REQUIRE(client->Get(kPod)->status == 200);
  std::atomic<int> faults{1};
  t.api.OnCall([&](const ApiCall&) { return Fault{.close_before = faults-- > 0}; });
  CHECK(client->Get(kPod)->status == 200);
  faults = 100;
  const auto before = t.api.Calls(Verb::kGet);
  CHECK(CodeOf(client->Get(kPod)) == Code::kUnknown);
  CHECK(t.api.Calls(Verb::kGet) == before + 2);
}

TEST_CASE("A server that does not answer in time is kUnknown, and its connection is not used again") {
  Fixture t;
  t.config.request_timeout = 100ms;
  const auto client = t.MakeClient();
  t.FaultOn(Verb::kBind, {.reply_latency = 10s});
  CHECK(CodeOf(client->Post(kBinding, kBindBody)) == Code::kUnknown);
  CHECK(t.Bound());
  t.api.OnCall({});
  CHECK(client->Get(kPod)->status == 200);
  CHECK(t.api.Connections() == 2);
}

TEST_CASE("Hanging up fails the request under way soon and later ones at once") {
  Fixture t;
  const auto client = t.MakeClient();
  t.FaultOn(Verb::kBind, {.reply_latency = 20s});
  auto hanging = std::async(std::launch::async, [&] { return client->Post(kBinding, kBindBody); });
  while (!t.Bound()) std::this_thread::sleep_for(1ms);
  client->HangUp();
  REQUIRE(hanging.wait_for(5s) == std::future_status::ready);
  CHECK(CodeOf(hanging.get()) == Code::kUnknown);
  CHECK(CodeOf(client->Get(kPod)) == Code::kUnavailable);
}

TEST_CASE("HTTP failures are replies with their Retry-After, and none is retried") {
  Fixture t;
  const auto client = t.MakeClient();
  t.FaultOn(Verb::kBind, {.status = 429, .retry_after_s = 7});
  const auto reply = client->Post(kBinding, kBindBody);
  REQUIRE(reply.has_value());
  CHECK(reply->status == 429);
  CHECK(reply->retry_after == 7s);
  CHECK(t.api.Calls(Verb::kBind) == 1);
  CHECK(ErrorOf(*reply)->code == Code::kUnavailable);
}

TEST_CASE("Statuses become the codes their callers act on") {
  CHECK_FALSE(ErrorOf({200, "", {}}).has_value());
  CHECK_FALSE(ErrorOf({201, "", {}}).has_value());
  for (const int status : {400, 401, 403, 405, 413, 415, 422}) CHECK(ErrorOf({status, "", {}})->code == Code::kInvalid);
  CHECK(ErrorOf({404, "", {}})->code == Code::kNotFound);
  CHECK(ErrorOf({409, "", {}})->code == Code::kConflict);
  CHECK(ErrorOf({410, "", {}})->code == Code::kConflict);
  CHECK(ErrorOf({429, "", {}})->code == Code::kUnavailable);
  for (const int status : {500, 502, 503, 504}) CHECK(ErrorOf({status, "", {}})->code == Code::kUnknown);
  CHECK(ErrorOf({409, R"({"kind":"Status","message":"too late"})", {}})->message == "409: too late");
  CHECK(ErrorOf({502, "<html>", {}})->message == "HTTP status 502");
}

TEST_CASE("A token file is read again after a minute") {
  Fixture t;
  const test::TempFolder folder;
  t.config.token_file = folder.Write("token", "one\n");
  t.api.RequireToken("one");
  const auto client = t.MakeClient();
  REQUIRE(client->Get(kPod)->status == 200);
  folder.Write("token", "two");
  REQUIRE(client->Get(kPod)->status == 200);
  t.clock.Advance(61s);
  t.api.RequireToken("two");
  const auto before = t.api.Calls(Verb::kGet);
  CHECK(client->Get(kPod)->status == 200);
  CHECK(t.api.Calls(Verb::kGet) == before + 1);
}

TEST_CASE("A 401 makes the token file be read at once, and the request be sent once more") {
  Fixture t;
  const test::TempFolder folder;
  t.config.token_file = folder.Write("token", "one");
  t.api.RequireToken("two");
  const auto client = t.MakeClient();
  CHECK(client->Get(kPod)->status == 401);
  CHECK(t.api.Calls(Verb::kGet) == 1);
  folder.Write("token", "two");
  CHECK(client->Post(kBinding, kBindBody)->status == 201);
  CHECK(t.api.Calls(Verb::kBind) == 2);
}

TEST_CASE("A token file that vanishes leaves the last token in use") {
  Fixture t;
  const test::TempFolder folder;
  t.config.token_file = folder.Write("token", "one");
  t.api.RequireToken("one");
  const auto client = t.MakeClient();
  std::filesystem::remove(t.config.token_file);
  t.clock.Advance(61s);
  CHECK(client->Get(kPod)->status == 200);
}

TEST_CASE("A configuration that cannot work is refused at once, with what to mend") {
  const test::ManualClock clock;
  const auto error = [&](ClientConfig config) {
    const auto client = Client::Make(std::move(config), clock);
    REQUIRE_FALSE(client.has_value());
    CHECK(client.error().code == Code::kInvalid);
    return client.error().message;
  };
  CHECK_THAT(error({.server = "127.0.0.1:6443"}), Catch::Contains("127.0.0.1:6443"));
  CHECK_THAT(error({.server = "http://x", .token_file = "/no/token"}), Catch::Contains("/no/token"));
  CHECK_THAT(error({.server = "http://x", .token = "two\nlines"}), Catch::Contains("bearer token"));
  CHECK_THAT(error({.server = "https://x", .ca_file = "/no/ca.crt"}), Catch::Contains("/no/ca.crt"));
  CHECK_THAT(error({.server = "https://x", .ca_pem = "garbage"}), Catch::Contains("certificate-authority"));
  CHECK_THAT(error({.server = "https://x", .client_cert_pem = "x"}), Catch::Contains("client-key"));
  CHECK_THAT(error({.server = "http://x", .max_connections = 0}), Catch::Contains("max_connections"));
}

TEST_CASE("A path that would break the request line is refused") {
  Fixture t;
  const auto client = t.MakeClient();
  for (const auto* path : {"/a b", "/a\r\nX: y", "", "relative", "/a\x7f"}) CHECK(CodeOf(client->Get(path)) == Code::kInvalid);
  CHECK(t.api.Connections() == 0);
}

/// What a stream delivered.
struct Received {
  int status = 0;
  std::string body;
  int pieces = 0;

  Client::Stream Take(
      std::function<bool()> more = [] { return true; }, std::chrono::milliseconds idle = 5s) {
    return {.on_status = [this](const Reply& head) { return status = head.status, true; },
            .on_data = [this, more](std::string_view piece) { return body += piece, ++pieces, more(); },
            .idle = idle};
  }
};

constexpr const char* kWatch = "/api/v1/pods?watch=1&timeoutSeconds=1";

TEST_CASE("A stream delivers until the server's end, what arrived together as one piece") {
  Fixture t;
  for (int i = 0; i < 200; ++i) t.api.Put(Kind::kPods, R"({"metadata":{"name":"x)" + std::to_string(i) + R"(","namespace":"ns"}})");
  const auto client = t.MakeClient();
  Received received;
  REQUIRE(client->GetStream(kWatch, received.Take(), {}).has_value());
  CHECK(received.status == 200);
  CHECK(std::count(received.body.begin(), received.body.end(), '\n') == 201);
  CHECK(received.pieces < 10);
}

TEST_CASE("A stream ends when the receiver has enough, or says so at the status") {
  Fixture t;
  const auto client = t.MakeClient();
  Received received;
  CHECK(client->GetStream("/api/v1/pods?watch=1", received.Take([] { return false; }), {}).has_value());
  CHECK(received.pieces == 1);
  auto stream = received.Take();
  stream.on_status = [](const Reply&) { return false; };
  CHECK(client->GetStream("/api/v1/pods?watch=1", stream, {}).has_value());
  CHECK(received.pieces == 1);
}

TEST_CASE("A stop request ends a silent stream soon, and without an error") {
  Fixture t;
  const auto client = t.MakeClient();
  std::stop_source stop;
  Received received;
  auto stream = received.Take([&] { return stop.request_stop(); });
  const auto started = std::chrono::steady_clock::now();
  CHECK(client->GetStream("/api/v1/pods?watch=1", stream, stop.get_token()).has_value());
  CHECK(client->GetStream("/api/v1/pods?watch=1", stream, stop.get_token()).has_value());
  CHECK(std::chrono::steady_clock::now() - started < 1s);
}

TEST_CASE("A stream that falls silent is kUnknown after the bound") {
  Fixture t;
  const auto client = t.MakeClient();
  t.api.FreezeWatches(true);
  Received received;
  const auto ended = client->GetStream("/api/v1/pods?watch=1", received.Take([] { return true; }, 50ms), {});
  REQUIRE_FALSE(ended.has_value());
  CHECK(ended.error().code == Code::kUnknown);
}

TEST_CASE("A stream cut in the middle is an error, not an end") {
  Fixture t;
  const auto client = t.MakeClient();
  Received received;
  const auto ended = client->GetStream("/api/v1/pods?watch=1", received.Take([&] { return t.api.CutWatches(), true; }), {});
  REQUIRE_FALSE(ended.has_value());
  CHECK(ended.error().code == Code::kUnknown);
}

TEST_CASE("A stream shows the status and body of a failure") {
  Fixture t;
  const auto client = t.MakeClient();
  t.FaultOn(Verb::kWatch, {.status = 410});
  Received received;
  REQUIRE(client->GetStream("/api/v1/pods?watch=1", received.Take(), {}).has_value());
  CHECK(received.status == 410);
  CHECK_THAT(received.body, Catch::Contains("Expired"));
}

// ---- Writes that are allowed only for a while ----

TEST_CASE("A POST that comes too late to be sent is certainly not executed, on a new connection and on an open one") {
  Fixture t;
  const auto client = t.MakeClient();
  const auto late = std::chrono::steady_clock::now() - 1ms;
  const auto refused = client->PostBy(late, kBinding, kBindBody);
  CHECK(CodeOf(refused) == Code::kUnavailable);
  CHECK(refused.error().message.find("too late to be sent") != std::string::npos);
  REQUIRE(client->Get(kPod)->status == 200);
  CHECK(CodeOf(client->PostBy(late, kBinding, kBindBody)) == Code::kUnavailable);
  CHECK(t.api.Calls(Verb::kBind) == 0);
  CHECK_FALSE(t.Bound());
  CHECK(client->PostBy(std::chrono::steady_clock::now() + 1h, kBinding, kBindBody)->status == 201);
}

TEST_CASE("A POST that waits for a connection is given up when its time has passed") {
  Fixture t;
  t.config.max_connections = 1;
  t.FaultOn(Verb::kGet, {.latency = 300ms});
  const auto client = t.MakeClient();
  auto slow = std::async(std::launch::async, [&] { return client->Get(kPod); });
  while (t.api.Calls(Verb::kGet) == 0) std::this_thread::yield();
  CHECK(CodeOf(client->PostBy(std::chrono::steady_clock::now() + 20ms, kBinding, kBindBody)) == Code::kUnavailable);
  CHECK(slow.get()->status == 200);
  CHECK(t.api.Calls(Verb::kBind) == 0);
}

}  // namespace
}  // namespace partage::k8s
