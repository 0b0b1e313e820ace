// SPDX-License-Identifier: Apache-2.0
#include "intercept/limiter/sampler.h"

#include <catch2/catch.hpp>
#include <memory>

#include "test/intercept/limiter/fake_events.h"

namespace partage::intercept::limiter {
namespace {

using test::FakeEvents;

struct Fixture {
  Fixture() { FakeEvents::Restart(); }
  std::unique_ptr<Sampler> sampler = std::make_unique<Sampler>();
  CostCell cell{};
  Measured done{};

  int Start(CostKey key = 7) { return sampler->Start(FakeEvents::kDriver, nullptr, key, &cell, 3); }
  bool Finish(int slot, bool launched = true) { return sampler->Finish(FakeEvents::kDriver, slot, nullptr, launched); }
  bool Collect() { return sampler->Collect(FakeEvents::kDriver, &done); }
  /// One launch that takes this long on the GPU, while recording an event takes 1 µs.
  void Launch(int64_t gpu_ns) {
    const int slot = Start();
    FakeEvents::now += gpu_ns + 1'000;
    Finish(slot);
    FakeEvents::now += 1'000;
  }
};

TEST_CASE_METHOD(Fixture, "A launch is timed between its events") {
  Launch(50'000);
  REQUIRE(Collect());
  CHECK(done.gpu_ns == 51'000);
  CHECK((done.cell == &cell && done.key == 7 && done.device == 3));
  CHECK_FALSE(Collect());
  CHECK(sampler->Idle());
}

TEST_CASE_METHOD(Fixture, "What recording an event takes is learned and taken off, a neighbour's slice in between is not") {
  const auto calibrated = [&](int64_t between) {
    const int slot = Start();
    for (FakeEvents::Event& event : FakeEvents::events) event.stamp -= &event == &FakeEvents::events.front() ? between : 0;
    FakeEvents::now += 50'000;
    Finish(slot);
    REQUIRE(Collect());
  };
  calibrated(1'500);
  CHECK(done.gpu_ns == 48'500);
  for (int i = 1; i < 16; ++i) {
    Launch(0);
    REQUIRE(Collect());
  }
  calibrated(2'000'000);
  CHECK(done.gpu_ns == 48'500);
}

TEST_CASE_METHOD(Fixture, "A pause of the host between its first two events takes nothing off what launches take") {
  const int slot = Start();
  for (FakeEvents::Event& event : FakeEvents::events) event.stamp -= &event == &FakeEvents::events.front() ? 600'000 : 0;
  FakeEvents::now += 1'000'000;
  Finish(slot);
  REQUIRE(Collect());
  CHECK(done.gpu_ns == 1'000'000);
}

TEST_CASE_METHOD(Fixture, "Nothing is collected before the launch has finished") {
  FakeEvents::reached = false;
  Finish(Start());
  CHECK_FALSE(Collect());
  FakeEvents::now += 10;
  FakeEvents::Reach();
  CHECK(Collect());
}

TEST_CASE_METHOD(Fixture, "A kernel that is seen running has a known least duration") {
  FakeEvents::reached = false;
  const int slot = Start();
  Finish(slot);
  CHECK(sampler->RunningFor(FakeEvents::kDriver, 7, FakeEvents::now) == 0);
  FakeEvents::events[1].stamp = FakeEvents::now;  // the event before the launch
  CHECK(sampler->RunningFor(FakeEvents::kDriver, 7, FakeEvents::now) == 0);
  CHECK(sampler->RunningFor(FakeEvents::kDriver, 7, FakeEvents::now + 80'000) == 80'000);
  CHECK(sampler->RunningFor(FakeEvents::kDriver, 8, FakeEvents::now + 80'000) == 0);
}

TEST_CASE_METHOD(Fixture, "Events that cannot be made or recorded mean no measurement, and the slot is free again") {
  for (int i = 0; i < 3 * Sampler::kSlots; ++i) {
    FakeEvents::create_fails = i < Sampler::kSlots ? 1 : 0;
    FakeEvents::record_fails = i < Sampler::kSlots ? 0 : 1;
    CHECK(Start() == -1);
  }
  FakeEvents::record_fails = 0;
  CHECK(Finish(Start()));
}

TEST_CASE_METHOD(Fixture, "A launch that failed is given up") {
  for (int i = 0; i < 2 * Sampler::kSlots; ++i) CHECK_FALSE(Finish(Start(), false));
  CHECK(sampler->Idle());
  CHECK_FALSE(Collect());
}

TEST_CASE_METHOD(Fixture, "A measurement whose event fails is reported as lost") {
  Finish(Start());
  FakeEvents::query_fails = 1;
  REQUIRE(Collect());
  CHECK(done.gpu_ns < 0);
}

TEST_CASE_METHOD(Fixture, "Without a context, or with every slot under way, launches are not measured") {
  FakeEvents::context = nullptr;
  CHECK(Start() == -1);
  FakeEvents::Restart();
  FakeEvents::reached = false;
  for (int i = 0; i < Sampler::kSlots; ++i) Finish(Start());
  CHECK(Start() == -1);
}

TEST_CASE_METHOD(Fixture, "Events are reused in their context and replaced in another") {
  for (int i = 0; i < 100; ++i) {
    Launch(10'000);
    REQUIRE(Collect());
  }
  CHECK(FakeEvents::events.size() == 3);
  int other = 0;
  for (int i = 0; i < Sampler::kSlots + 5; ++i) {
    FakeEvents::context = &other + i;
    Launch(10'000);
    REQUIRE(Collect());
  }
  CHECK(FakeEvents::destroyed == 6 * 3);
}

TEST_CASE_METHOD(Fixture, "A context that is destroyed takes its events along: nothing of it is asked for or destroyed again") {
  FakeEvents::reached = false;
  cell.first_stamp_ns = 5;
  Finish(Start());
  sampler->Pause();
  CHECK_FALSE(Collect());
  sampler->ForgetContext(FakeEvents::context);
  sampler->Resume();
  CHECK(sampler->Idle());
  CHECK(cell.first_stamp_ns == 0);
  FakeEvents::Reach();
  CHECK_FALSE(Collect());
  FakeEvents::reached = true;
  Launch(10'000);
  CHECK(Collect());
  CHECK(FakeEvents::destroyed == 0);
}

TEST_CASE_METHOD(Fixture, "A device whose context is gone is forgotten, others are not") {
  FakeEvents::reached = false;
  Finish(Start());
  sampler->Pause();
  sampler->ForgetDevice(2);
  CHECK_FALSE(sampler->Idle());
  sampler->ForgetDevice(3);
  CHECK(sampler->Idle());
  sampler->Resume();
}

TEST_CASE_METHOD(Fixture, "A forked child starts without the parent's measurements") {
  FakeEvents::reached = false;
  Finish(Start());
  Start();  // another thread of the parent was in the middle
  sampler->Reset();
  CHECK(sampler->Idle());
  FakeEvents::reached = true;
  Launch(10'000);
  CHECK(Collect());
}

}  // namespace
}  // namespace partage::intercept::limiter
