// SPDX-License-Identifier: Apache-2.0
#include "intercept/limiter/cost_model.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <memory>
#include <random>
#include <set>

namespace partage::intercept::limiter {
namespace {

constexpr int64_t kUs = 1'000;

struct Model {
  std::unique_ptr<CostTable> table = std::make_unique<CostTable>();
  CostCell& Cell(CostKey key) { return table->Find(key); }
  int64_t Cost(CostKey key) { return Cell(key).cost_ns; }
  void Observe(CostKey key, int64_t ns, Neighbours neighbours = Neighbours::kNone) { table->Observe(Cell(key), key, ns, neighbours); }
};

const void* Function(uintptr_t n) { return reinterpret_cast<const void*>(0x7f00'0000'0000 + n * 64); }
CostKey Key(uintptr_t n) { return KernelKey(Function(n), 0, 64, 1, 1); }

TEST_CASE("Grids of about the same size share a key, others and other devices do not") {
  CHECK(KernelKey(Function(1), 0, 1000, 1, 1) == KernelKey(Function(1), 0, 10, 10, 10));
  CHECK(KernelKey(Function(1), 0, 1000, 1, 1) == KernelKey(Function(1), 0, 1020, 1, 1));
  CHECK(KernelKey(Function(1), 0, 1000, 1, 1) != KernelKey(Function(1), 0, 2000, 1, 1));
  CHECK(KernelKey(Function(1), 0, 1000, 1, 1) != KernelKey(Function(1), 1, 1000, 1, 1));
  CHECK(KernelKey(Function(1), 0, 1, 1, 1) != KernelKey(Function(2), 0, 1, 1, 1));
  CHECK(KernelKey(Function(1), 0, 0, 0, 0) != 0);
  CHECK(GraphKey(Function(1), 0) != KernelKey(Function(1), 0, 1, 1, 1));
}

TEST_CASE("The fast path asks first until a few launches were measured") {
  Model model;
  CHECK(model.Cell(Key(1)).fast_ns == kAskFirst);
  for (uint32_t i = 0; i < CostTable::kFirstFew; ++i) {
    CHECK(model.Cell(Key(1)).fast_ns == kAskFirst);
    model.Observe(Key(1), 40 * kUs);
  }
  CHECK(model.Cell(Key(1)).fast_ns == 40 * kUs);
}

TEST_CASE("Alone on the GPU the cost is the mean of durations that vary") {
  Model model;
  std::mt19937 random(1);
  std::lognormal_distribution<double> factor(0, 0.4);
  double sum = 0;
  for (int i = 0; i < 4000; ++i) {
    model.Observe(Key(1), static_cast<int64_t>(100'000 * factor(random)));
    if (i >= 2000) sum += static_cast<double>(model.Cost(Key(1)));
  }
  CHECK(sum / 2000 == Approx(100'000 * std::exp(0.08)).epsilon(0.03));
}

TEST_CASE("A constant kernel keeps its cost among neighbours whose slices fall into its spans") {
  for (Neighbours neighbours : {Neighbours::kUnknown, Neighbours::kBusy}) {
    Model model;
    std::mt19937 random(2);
    for (int i = 0; i < 2000; ++i) {
      const bool sliced = random() % 100 < 40;
      model.Observe(Key(1), 300 * kUs + static_cast<int64_t>(random() % 6'000) + (sliced ? 2'000 * kUs : 0), neighbours);
    }
    CHECK(model.Cost(Key(1)) == Approx(303 * kUs).epsilon(0.02));
  }
}

TEST_CASE("A kernel that becomes shorter or longer is learned anew") {
  for (Neighbours neighbours : {Neighbours::kNone, Neighbours::kUnknown}) {
    Model model;
    for (int i = 0; i < 100; ++i) model.Observe(Key(1), 400 * kUs, neighbours);
    for (int i = 0; i < 100; ++i) model.Observe(Key(1), 100 * kUs, neighbours);
    CHECK(model.Cost(Key(1)) == Approx(100 * kUs).epsilon(0.02));
    for (int i = 0; i < 300; ++i) model.Observe(Key(1), 900 * kUs, neighbours);
    CHECK(model.Cost(Key(1)) == Approx(900 * kUs).epsilon(0.02));
  }
}

TEST_CASE("Launches charged by guess are settled by the first measurement") {
  Model model;
  CostCell& cell = model.Cell(Key(1));
  int64_t guessed = 0;
  for (int i = 0; i < 3; ++i) guessed += model.table->Guess(cell, 0);
  CHECK(model.table->Observe(cell, Key(1), 5'000 * kUs, Neighbours::kNone) == 15'000 * kUs - guessed);
  CHECK(model.table->Observe(cell, Key(1), 5'000 * kUs, Neighbours::kNone) == 0);
}

TEST_CASE("What guesses owe has a bound, so that nobody is starved by them") {
  Model model;
  CostCell& cell = model.Cell(Key(1));
  for (int i = 0; i < 100'000; ++i) model.table->Guess(cell, 0);
  CHECK(model.table->Observe(cell, Key(1), 5'000 * kUs, Neighbours::kBusy) == 500'000 * kUs);
  CostCell& longer = model.Cell(Key(2));
  model.table->Guess(longer, 0);
  CHECK(model.table->Observe(longer, Key(2), 3'000'000 * kUs, Neighbours::kBusy) > 2'900'000 * kUs);
}

TEST_CASE("A guess is what launches here usually take, and at least what is known") {
  Model model;
  for (int i = 0; i < 200; ++i) model.Observe(Key(1), 7 * kUs);
  CHECK(model.table->Guess(model.Cell(Key(2)), 0) == Approx(7 * kUs).epsilon(0.02));
  CHECK(model.table->Guess(model.Cell(Key(2)), 90'000 * kUs) == 90'000 * kUs);
}

TEST_CASE("A forgotten key starts again, and its late measurement changes nothing") {
  Model model;
  for (int i = 0; i < 10; ++i) model.Observe(Key(1), 7 * kUs);
  CostCell& cell = model.Cell(Key(1));
  model.table->Forget(Key(1));
  CHECK(cell.samples == 0);
  CHECK(cell.fast_ns == kAskFirst);
  CHECK(model.table->Observe(cell, Key(2), 7 * kUs, Neighbours::kNone) == 0);
  CHECK(cell.samples == 0);
}

TEST_CASE("A thousand keys are told apart") {
  Model model;
  for (uintptr_t n = 0; n < 1000; ++n) model.Observe(Key(n), static_cast<int64_t>(n + 1) * kUs);
  int right = 0;
  for (uintptr_t n = 0; n < 1000; ++n) right += model.Cost(Key(n)) == static_cast<int64_t>(n + 1) * kUs;
  CHECK(right >= 995);
}

TEST_CASE("More keys than cells: the one not seen for longest makes room, one in use stays") {
  Model model;
  for (uintptr_t n = 1; n < 20'000; ++n) {
    CostTable::Touch(model.Cell(Key(0)), static_cast<int64_t>(n) * 10);
    if (model.Cost(Key(0)) == 0) model.Observe(Key(0), 5 * kUs);
    CostTable::Touch(model.Cell(Key(n)), static_cast<int64_t>(n) * 10);
  }
  CHECK(model.Cost(Key(0)) == 5 * kUs);
  CHECK(model.Cell(Key(19'999)).key == Key(19'999));
}

}  // namespace
}  // namespace partage::intercept::limiter
