// SPDX-License-Identifier: Apache-2.0
#include "test/intercept/limiter/sim_gpu.h"

#include <catch2/catch.hpp>

namespace partage::test {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kStart = 1'000 * kMs;

struct Fixture {
  Agenda agenda;
  SimGpu gpu{agenda};
  int a = gpu.AddContext(), b = gpu.AddContext();
  int64_t begin = 0, end = 0;
  int64_t UsedBy(int context) { return gpu.Used(context, kStart, kStart + 1'000 * kMs); }
};

TEST_CASE_METHOD(Fixture, "A kernel alone takes its time") {
  gpu.Record(a, &begin);
  gpu.Launch(a, 30 * kMs);
  gpu.Record(a, &end);
  agenda.RunUntil(kStart + 100 * kMs);
  CHECK(end - begin == 30 * kMs + SimGpu::kEventNs);
  CHECK(UsedBy(a) == 30 * kMs + 2 * SimGpu::kEventNs);
  CHECK(gpu.outstanding(a) == 0);
}

TEST_CASE_METHOD(Fixture, "Two contexts take turns, and spans contain the other's slices") {
  gpu.Launch(b, 50 * kMs);
  gpu.Record(a, &begin);
  gpu.Launch(a, 10 * kMs);
  gpu.Record(a, &end);
  agenda.RunUntil(kStart + 40 * kMs);
  CHECK(end - begin >= 18 * kMs);
  agenda.RunUntil(kStart + 100 * kMs);
  CHECK(UsedBy(b) == 50 * kMs);
  CHECK(gpu.busy_ns() == 60 * kMs + 2 * SimGpu::kEventNs);
}

TEST_CASE_METHOD(Fixture, "Whoever waits for a short queue is called once it is short") {
  for (int i = 0; i < 5; ++i) gpu.Launch(a, kMs);
  int64_t at_two = 0, empty = 0;
  gpu.WhenAtMost(a, 2, [&] { at_two = agenda.now(); });
  gpu.WhenAtMost(a, 0, [&] { empty = agenda.now(); });
  agenda.RunUntil(kStart + 10 * kMs);
  CHECK(at_two == kStart + 3 * kMs);
  CHECK(empty == kStart + 5 * kMs);
}

TEST_CASE_METHOD(Fixture, "The books can be brought up to now in the middle of a kernel") {
  gpu.Launch(a, 500 * kMs);
  agenda.RunUntil(kStart + 100 * kMs);
  gpu.CatchUp();
  CHECK(UsedBy(a) == 100 * kMs);
  agenda.RunUntil(kStart + 900 * kMs);
  CHECK(UsedBy(a) == 500 * kMs);
}

}  // namespace
}  // namespace partage::test
