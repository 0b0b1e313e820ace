// SPDX-License-Identifier: Apache-2.0
// Random schedules with kills at fault points. A seed is a history: PARTAGE_SEED=N tells the one, PARTAGE_FIRST_SEED and PARTAGE_HISTORIES
// choose others.
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "base/log.h"
#include "test/faults/bind_history.h"

namespace partage::test {
namespace {

constexpr const char* kPoints[] = {"bind.reserve.before",  "bind.reserve.after",  "bind.write.before",     "bind.write.after",
                                   "bind.commit.before",   "bind.commit.after",   "bind.give-back.before", "bind.give-back.after",
                                   "preempt.claim.before", "preempt.claim.after", "preempt.ask.before",    "preempt.ask.after",
                                   "preempt.evict.before", "preempt.evict.after"};

unsigned Wish(const char* name, unsigned otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : static_cast<unsigned>(std::strtoul(text, nullptr, 10));
}

void LiveThrough(unsigned first, unsigned count) {
  Happened happened;
  for (unsigned seed = first; seed < first + count; ++seed) {
    const auto fault = BindHistory(seed, false, happened).Run();
    INFO("to see it again, told: PARTAGE_SEED=" << seed);
    REQUIRE(fault == "");
  }
  for (const auto& [what, times] : happened) std::printf("%-32s %10llu\n", what.c_str(), static_cast<unsigned long long>(times));
  for (const char* point : kPoints) {
    INFO(point);
    CHECK(happened[fmt::format("died at {}", point)] > count / (std::string_view(point).starts_with("bind.") ? 100 : 1000));
  }
  for (const char* what : {"bound", "failed: conflict", "late write", "event repeated", "relist", "turn taken", "eviction asked",
                           "eviction sent", "quota changed"}) {
    INFO(what);
    CHECK(happened[what] > count / 100);
  }
}

// The n-th quarter of the seeds, a test of its own, so that they run side by side.
void LiveThroughQuarter(unsigned n) {
  (void)log::Configure("error", "text");
  Happened happened;
  if (const unsigned seed = Wish("PARTAGE_SEED", 0)) {
    CHECK(BindHistory(seed, true, happened).Run() == "");
    return;
  }
  const unsigned count = Wish("PARTAGE_HISTORIES", 10000) / 4;
  LiveThrough(Wish("PARTAGE_FIRST_SEED", 1) + n * count, count);
}

TEST_CASE("After random histories with deaths at fault points (first quarter of 10,000) the ledger equals the pods' annotations") {
  LiveThroughQuarter(0);
}
TEST_CASE("After random histories with deaths at fault points (second quarter of 10,000) the ledger equals the pods' annotations") {
  LiveThroughQuarter(1);
}
TEST_CASE("After random histories with deaths at fault points (third quarter of 10,000) the ledger equals the pods' annotations") {
  LiveThroughQuarter(2);
}
TEST_CASE("After random histories with deaths at fault points (last quarter of 10,000) the ledger equals the pods' annotations") {
  LiveThroughQuarter(3);
}

}  // namespace
}  // namespace partage::test
