// SPDX-License-Identifier: Apache-2.0
#include "test/support/libcuda/gpu/shared_gpu.h"

#include <catch2/catch.hpp>
#include <memory>
#include <random>

namespace partage::fake_gpu {
namespace {

constexpr int64_t kMs = 1'000'000;

std::unique_ptr<SharedGpu> Device(int64_t slice = 2 * kMs) {
  auto gpu = std::make_unique<SharedGpu>();
  gpu->capacity = 1000;
  gpu->slice = slice;
  return gpu;
}

TEST_CASE("A device gives out all of its memory and not a byte more") {
  auto gpu = Device();
  const int a = gpu->Join(1), b = gpu->Join(2);
  CHECK(gpu->Reserve(a, 600));
  CHECK_FALSE(gpu->Reserve(b, 401));
  CHECK(gpu->Reserve(b, 400));
  CHECK_FALSE(gpu->Reserve(a, 1));
  gpu->Release(b, 400);
  CHECK(gpu->used == 600);
  CHECK(gpu->tenants[a].used == 600);
}

TEST_CASE("A tenant that leaves takes its memory and its work with it") {
  auto gpu = Device();
  const int a = gpu->Join(1), b = gpu->Join(2);
  gpu->Reserve(a, 600);
  gpu->Submit(a, 100 * kMs);
  gpu->Submit(b, 5 * kMs);
  gpu->Leave(a);
  gpu->Advance(5 * kMs);
  CHECK(gpu->used == 0);
  CHECK(gpu->tenants[b].backlog() == 0);
  CHECK(gpu->Join(3) == a);
  CHECK(gpu->tenants[a].backlog() == 0);
}

TEST_CASE("A tenant alone runs without pause, and each piece of work ends when it should") {
  auto gpu = Device();
  const int a = gpu->Join(1);
  gpu->Advance(kMs);
  const int64_t first = gpu->Submit(a, 3 * kMs), second = gpu->Submit(a, 4 * kMs);
  gpu->Advance(20 * kMs);
  const int64_t third = gpu->Submit(a, kMs);
  gpu->Advance(30 * kMs);
  CHECK(gpu->tenants[a].FinishedAt(first) == 4 * kMs);
  CHECK(gpu->tenants[a].FinishedAt(second) == 8 * kMs);
  CHECK(gpu->tenants[a].FinishedAt(third) == 21 * kMs);
}

TEST_CASE("Busy tenants take equal turns, and together use all of the time") {
  auto gpu = Device();
  const int count = GENERATE(2, 3, 70);
  std::vector<int> all;
  for (int i = 0; i < count; ++i) all.push_back(gpu->Join(i + 1));
  for (const int tenant : all) gpu->Submit(tenant, 1000 * kMs);
  gpu->Advance(2 * kMs * count * 5);
  for (const int tenant : all) CHECK(gpu->tenants[tenant].served == 10 * kMs);
}

TEST_CASE("The turn of a tenant without work goes to the others at once") {
  auto gpu = Device();
  const int busy = gpu->Join(1), brief = gpu->Join(2);
  gpu->Submit(busy, 100 * kMs);
  const int64_t mark = gpu->Submit(brief, kMs);
  gpu->Advance(50 * kMs);
  CHECK(gpu->tenants[brief].FinishedAt(mark) <= 3 * kMs);
  CHECK(gpu->tenants[busy].served == 49 * kMs);
}

TEST_CASE("Looking often or seldom makes no difference, and nothing is lost or done twice") {
  std::mt19937 random(5);
  auto often = Device(100), seldom = Device(100);
  for (auto* gpu : {often.get(), seldom.get()}) {
    for (int i = 0; i < 4; ++i) gpu->Join(i + 1);
  }
  int64_t now = 0, submitted = 0;
  for (int step = 0; step < 300; ++step) {
    for (const int64_t until = now + static_cast<int64_t>(random() % 700); now < until; ++now) often->Advance(now);
    often->Advance(now);
    seldom->Advance(now);
    const int tenant = static_cast<int>(random() % 4);
    const auto work = static_cast<int64_t>(random() % 500);
    submitted += work;
    REQUIRE(often->Submit(tenant, work) == seldom->Submit(tenant, work));
    for (int i = 0; i < 4; ++i) REQUIRE(often->tenants[i].served == seldom->tenants[i].served);
  }
  seldom->Advance(now + submitted);
  int64_t served = 0;
  for (int i = 0; i < 4; ++i) served += seldom->tenants[i].served;
  CHECK(served == submitted);
}

TEST_CASE("History knows how long the device was busy in any stretch of the last seconds") {
  auto gpu = Device();
  const int a = gpu->Join(1);
  gpu->Advance(1000 * kMs);
  gpu->Submit(a, 55 * kMs);
  gpu->Advance(1200 * kMs);
  CHECK(gpu->busy.Between(1000 * kMs, 1100 * kMs) == 55 * kMs);
  CHECK(gpu->busy.Between(1050 * kMs, 1060 * kMs) == 5 * kMs);
  CHECK(gpu->tenants[a].busy.Between(1100 * kMs, 1200 * kMs) == 0);
  gpu->Submit(a, 10 * kMs);
  gpu->Advance(9000 * kMs);
  CHECK(gpu->busy.Between(8900 * kMs, 9000 * kMs) == 0);
}

}  // namespace
}  // namespace partage::fake_gpu
