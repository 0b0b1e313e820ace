// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/event_writer.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "k8s/api/event.h"
#include "test/scheduler/extender/scripted_api.h"
#include "test/support/builders.h"
#include "test/support/manual_clock.h"

namespace partage::scheduler {
namespace {

using namespace std::chrono_literals;

/// An EventWriter that ticks only when told.
struct Desk {
  test::ManualClock clock;
  test::ScriptedApi api{clock};
  metrics::Registry registry;
  EventWriter writer{api, clock, {.queue = 8, .pod_burst = 3, .burst = 6, .per_second = 1}, registry};

  void Post(const std::string& pod, const std::string& note = "why") {
    writer.Post({.pod = test::Ref(pod), .warning = true, .reason = "Preempted", .action = "Preempting", .note = note});
  }
  bool Counted(const std::string& outcome, int count) {
    return registry.Expose().find(fmt::format("partage_events_total{{outcome=\"{}\"}} {}\n", outcome, count)) != std::string::npos;
  }
};

TEST_CASE_METHOD(Desk, "An event is created with all that the API server demands") {
  Post("p", "Preempted by pod a/b");
  writer.Tick();
  REQUIRE(api.events().size() == 1);
  const auto event = api.events()[0];
  CHECK_FALSE(event.created);
  const auto document = nlohmann::json::parse(k8s::EncodeEvent(event));
  CHECK(document["involvedObject"]["uid"] == "uid-of-p");
  CHECK(document["metadata"]["namespace"] == "default");
  CHECK(document["metadata"]["name"].get<std::string>().starts_with("p."));
  CHECK(document["count"] == 1);
  CHECK(document["type"] == "Warning");
  CHECK(document["message"] == "Preempted by pod a/b");
  CHECK_THAT(document["firstTimestamp"].get<std::string>(), Catch::Matches("....-..-..T..:..:..Z"));
}

TEST_CASE_METHOD(Desk, "Equal events are one whose count grows, now and then") {
  for (int i = 0; i < 5; ++i) Post("p");
  writer.Tick();
  for (int i = 0; i < 7; ++i) Post("p");
  writer.Tick();
  REQUIRE(api.events().size() == 1);
  CHECK(api.events()[0].count == 5);
  clock.Advance(21s);
  writer.Tick();
  REQUIRE(api.events().size() == 2);
  CHECK(api.events()[1].created);
  CHECK(api.events()[1].name == api.events()[0].name);
  CHECK(api.events()[1].count == 12);
  clock.Advance(11min);
  Post("p");
  writer.Tick();
  CHECK_FALSE(api.events()[2].created);
  CHECK(api.events()[2].count == 1);
}

TEST_CASE_METHOD(Desk, "One pod has few new events, all pods together so many a second, and a full queue drops") {
  for (int i = 0; i < 10; ++i) Post("p", fmt::format("note {}", i));
  CHECK(Counted("dropped", 7));
  for (int i = 0; i < 10; ++i) Post(fmt::format("q{}", i));
  CHECK(Counted("dropped", 12));
  writer.Tick();
  CHECK(api.events().size() == 6);
  clock.Advance(1s);
  writer.Tick();
  CHECK(api.events().size() == 7);
  clock.Advance(10s);
  writer.Tick();
  CHECK(api.events().size() == 8);
  CHECK(Counted("written", 8));
}

TEST_CASE_METHOD(Desk, "An event that could not be created is created the next time, not patched") {
  api.FailEvents(Error{Code::kUnavailable, "429"});
  Post("p");
  writer.Tick();
  CHECK(Counted("failed", 1));
  api.FailEvents(std::nullopt);
  clock.Advance(30s);
  Post("p");
  writer.Tick();
  REQUIRE(api.events().size() == 1);
  CHECK_FALSE(api.events()[0].created);
  CHECK(api.events()[0].count == 2);
}

TEST_CASE("A replica on standby writes nothing, then or later") {
  struct Closed final : WriteFence {
    Result<Term> CurrentTerm() const override { return open ? Result<Term>(Term{1}) : Fail(Code::kUnavailable, "standby"); }
    Result<Permit> BeginWrite(Term) override { return Permit(Clock::Mono::max(), nullptr); }
    bool open = false;
  } fence;
  test::ManualClock clock;
  test::ScriptedApi api{clock};
  metrics::Registry registry;
  EventWriter writer(api, clock, {.fence = &fence}, registry);
  writer.Post({.pod = test::Ref("p"), .reason = "R", .action = "A", .note = "n"});
  writer.Tick();
  fence.open = true;
  writer.Tick();
  CHECK(api.events().empty());
}

}  // namespace
}  // namespace partage::scheduler
