// SPDX-License-Identifier: Apache-2.0
#include "k8s/leases/lease_api.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "test/support/recording_client.h"

namespace partage::k8s {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr const char* kLease = R"({"kind":"Lease","metadata":{"name":"l","namespace":"ns","resourceVersion":"7","labels":{"a":"b"}},
  "spec":{"holderIdentity":"x_1","leaseDurationSeconds":15,"acquireTime":"2026-01-01T00:00:00.000000Z","renewTime":"2026-01-01T00:00:02.000000Z",
  "leaseTransitions":3,"strategy":"OldestEmulationVersion"}})";

TEST_CASE("A lease is read whole, and what is not ours to change goes back as it was") {
  test::RecordingClient client;
  client.answer->body = kLease;
  const auto api = MakeLeaseApi(client, "ns", "l");
  auto lease = api->Get().value();
  CHECK(client.calls.back().path == "/apis/coordination.k8s.io/v1/namespaces/ns/leases/l");
  CHECK(lease.holder == "x_1");
  CHECK(lease.duration == 15s);
  CHECK(lease.transitions == 3);
  lease.holder = "y_2";
  REQUIRE(api->Update(lease));
  CHECK(client.calls.back().method == "PUT");
  CHECK(client.calls.back().path == "/apis/coordination.k8s.io/v1/namespaces/ns/leases/l");
  auto expected = json::parse(kLease);
  expected["apiVersion"] = "coordination.k8s.io/v1";
  expected["spec"]["holderIdentity"] = "y_2";
  CHECK(json::parse(client.calls.back().body) == expected);
}

TEST_CASE("A new lease is posted to the collection, with times to the microsecond") {
  test::RecordingClient client;
  client.answer->body = kLease;
  const auto api = MakeLeaseApi(client, "ns", "l");
  const auto time = MicroTime(Clock::Wall(1'700'000'000s + 42us));
  CHECK(time == "2023-11-14T22:13:20.000042Z");
  REQUIRE(api->Create({.holder = "me", .duration = 15s, .acquire_time = time, .renew_time = time}));
  CHECK(client.calls.back().method == "POST");
  CHECK(client.calls.back().path == "/apis/coordination.k8s.io/v1/namespaces/ns/leases");
  const auto body = json::parse(client.calls.back().body);
  CHECK(body["metadata"] == json({{"name", "l"}, {"namespace", "ns"}}));
  CHECK(body["spec"]["renewTime"] == time);
}

TEST_CASE("Answers that are no lease, and refusals, name the lease") {
  test::RecordingClient client;
  const auto api = MakeLeaseApi(client, "ns", "l");
  for (const char* body : {"", "[]", "{}", R"({"metadata":1})", R"({"metadata":{},"spec":[]})"}) {
    client.answer->body = body;
    CHECK(api->Get().error().code == Code::kInvalid);
  }
  client.answer = Reply{.status = 409, .body = R"({"message":"the object has been modified"})"};
  const auto error = api->Update({}).error();
  CHECK(error.code == Code::kConflict);
  CHECK(error.message.find("PUT lease ns/l: 409: the object has been modified") == 0);
}

TEST_CASE("Members of the wrong type are as good as absent") {
  const auto lease = DecodeLease(R"({"metadata":{"resourceVersion":5},"spec":{"holderIdentity":null,"leaseDurationSeconds":"x"}})").value();
  CHECK(lease.holder.empty());
  CHECK(lease.duration == 0s);
  CHECK(lease.resource_version.empty());
}

}  // namespace
}  // namespace partage::k8s
