// SPDX-License-Identifier: Apache-2.0
#include "test/faults/soak_faults.h"

#include <chrono>

#include <fmt/format.h>

namespace partage::test {
namespace {

using namespace std::chrono_literals;

constexpr int kFaultsPerHundred = 8;

struct Named {
  const char* name;
  Fault fault;
};

const std::vector<Named>& Faults() {
  static const std::vector<Named> faults = {
      {"409", {.status = 409}},
      {"410", {.status = 410}},
      {"429", {.status = 429, .retry_after_s = 1}},
      {"429 at once", {.status = 429}},
      {"500", {.status = 500}},
      {"503", {.status = 503}},
      {"504", {.status = 504}},
      {"no answer, not executed", {.close_before = true}},
      {"reset, not executed", {.close_before = true, .reset = true}},
      {"reply lost", {.close_after = true}},
      {"reply lost, reset", {.close_after = true, .reset = true}},
      {"half a body", {.half_body = true}},
      {"slow", {.latency = 300ms}},
      {"executed, answered late", {.reply_latency = 700ms}},
      {"executed, answered far too late", {.reply_latency = 12s}},
  };
  return faults;
}

}  // namespace

SoakFaults::SoakFaults(FakeApiServer& api, unsigned seed) : api_(api), dice_(seed) {
  api_.OnCall([this](const ApiCall& call) { return ForCall(call); });
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

SoakFaults::~SoakFaults() {
  thread_ = {};
  api_.OnCall({});
}

int SoakFaults::Below(int n) {
  const MutexLock lock(mutex_);
  return std::uniform_int_distribution<int>(0, n - 1)(dice_);
}

void SoakFaults::Count(const std::string& what) {
  const MutexLock lock(mutex_);
  ++counts_[what];
}

std::map<std::string, std::uint64_t> SoakFaults::counts() const {
  const MutexLock lock(mutex_);
  return counts_;
}

// The last one is rare: each holds a worker until its time is up.
Fault SoakFaults::ForCall(const ApiCall&) {
  {
    const MutexLock lock(mutex_);
    if (!storm_) return {};
  }
  if (Below(100) >= kFaultsPerHundred) return {};
  const auto& all = Faults();
  const auto& chosen = all[static_cast<std::size_t>(Below(static_cast<int>(all.size()) - (Below(10) == 0 ? 0 : 1)))];
  Count(chosen.name);
  return chosen.fault;
}

void SoakFaults::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    std::this_thread::sleep_for(100ms);
    const MutexLock turn(disturbing_);
    bool storm = false;
    {
      const MutexLock lock(mutex_);
      storm = storm_;
    }
    if (storm && Below(10) == 0) Disturb();
  }
}

void SoakFaults::Disturb() {
  switch (Below(8)) {
    case 0:
    case 1: api_.CutWatches(); return Count("watches cut");
    case 2: api_.FailWatches(410); return Count("watches 410");
    case 3: api_.FailWatches(500); return Count("watches 500");
    case 4: api_.Compact(); return Count("past forgotten");
    case 5: api_.CloseIdleConnections(); return Count("idle connections closed");
    case 6:
      api_.FreezeWatches(true);
      std::this_thread::sleep_for(1500ms);
      api_.FreezeWatches(false);
      return Count("watches frozen");
    default:
      api_.Stop();
      std::this_thread::sleep_for(500ms);
      api_.Start();
      return Count("server away");
  }
}

void SoakFaults::Calm() {
  {
    const MutexLock lock(mutex_);
    storm_ = false;
  }
  const MutexLock turn(disturbing_);
  api_.SetWatchFaults({});
}

void SoakFaults::Storm() {
  api_.SetWatchFaults({.repeat_one_in = 20, .swap_one_in = 20, .delay = 30ms, .seed = static_cast<unsigned>(Below(1 << 30))});
  const MutexLock lock(mutex_);
  storm_ = true;
}

}  // namespace partage::test
