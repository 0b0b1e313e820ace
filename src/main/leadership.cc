// SPDX-License-Identifier: Apache-2.0
#include "main/leadership.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "metrics/catalog.h"

namespace partage::app {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kDrainLook{50};
constexpr milliseconds kReadLook{20};

}  // namespace

Leadership::Leadership(std::unique_ptr<k8s::LeaseApi> lease, std::unique_ptr<k8s::LeaseApi> neighbour_lease, Options options,
                       PodReader pods, const Clock& clock, metrics::Registry& registry)
    : options_(std::move(options)),
      pods_(std::move(pods)),
      clock_(clock),
      registry_(registry),
      lease_(std::move(lease)),
      neighbour_lease_(std::move(neighbour_lease)),
      elector_(*lease_, options_.elector, clock, options_.seed),
      fenced_(registry.GetCounter(metrics::kFencedWrites)) {
  if (neighbour_lease_) neighbour_.emplace(*neighbour_lease_, options_.neighbour, clock);
  registry_.SetGauge(metrics::kActive, 0);
}

Leadership::~Leadership() { Stop(); }

// ---- What others ask ----

Leadership::Phase Leadership::PhaseLocked() const {
  if (!tenure_ || resigning_ || !tenure_->Lasts(clock_)) return Phase::kStandby;
  return pods_.has_read(read_) ? Phase::kActive : Phase::kReading;
}

std::string Leadership::StatusLocked() const {
  switch (PhaseLocked()) {
    case Phase::kActive: return "active";
    case Phase::kReading: return fmt::format("the lease {} is ours; every pod is being read before anything is written", lease_->name());
    case Phase::kStandby: break;
  }
  const auto held = [](const k8s::LeaseApi& lease, const std::string& holder) {
    return holder.empty() ? fmt::format("the lease {} is held by nobody", lease.name())
                          : fmt::format("the lease {} is held by {}", lease.name(), holder);
  };
  std::string status = "this replica is on standby: " + held(*lease_, holder_);
  if (neighbour_lease_) status += "; " + held(*neighbour_lease_, neighbour_holder_);
  return status;
}

Result<scheduler::WriteFence::Term> Leadership::CurrentTerm() const {
  const MutexLock lock(mutex_);
  if (PhaseLocked() == Phase::kActive) return tenure_->term;
  return Fail(Code::kUnavailable, "{}", StatusLocked());
}

Result<scheduler::WriteFence::Permit> Leadership::BeginWrite(Term term) {
  const MutexLock lock(mutex_);
  if (PhaseLocked() == Phase::kActive && tenure_->term == term) {
    ++writes_;
    return Permit(tenure_->until, [this] {
      const MutexLock end(mutex_);
      --writes_;
    });
  }
  fenced_.Inc();
  return Fail(Code::kUnavailable, "not written: {}",
              PhaseLocked() == Phase::kActive ? "another replica was active since the share was taken" : StatusLocked());
}

bool Leadership::active() const {
  const MutexLock lock(mutex_);
  return PhaseLocked() == Phase::kActive;
}

std::string Leadership::status() const {
  const MutexLock lock(mutex_);
  return StatusLocked();
}

// ---- The thread ----

milliseconds Leadership::Tick() {
  const bool eligible = Eligible();
  if (eligible) {
    TryIfDue();
  } else if (elector_.tenure()) {
    Resign();
  } else {
    LookIfDue();
  }
  Publish();
  Note();
  const MutexLock lock(mutex_);
  if (resigning_) return kDrainLook;
  if (PhaseLocked() == Phase::kReading) return kReadLook;
  const auto until_try = std::chrono::ceil<milliseconds>(next_try_ - clock_.Now());
  return std::clamp(neighbour_ ? std::min(until_try, LookPeriod()) : until_try, milliseconds(1), options_.elector.timings.retry_period * 3);
}

milliseconds Leadership::LookPeriod() const { return options_.elector.timings.retry_period / 4; }

bool Leadership::Eligible() {
  if (!neighbour_) return true;
  if (clock_.Now() >= next_look_) {
    neighbour_->Look();
    next_look_ = clock_.Now() + LookPeriod();
  }
  const bool eligible = neighbour_->holds();
  if (eligible && !was_eligible_) next_try_ = clock_.Now();
  was_eligible_ = eligible;
  const MutexLock lock(mutex_);
  neighbour_holder_ = neighbour_->holder();
  if (eligible) resigning_ = false;
  return eligible;
}

// Beside a kube-scheduler there is one candidate, which need not be shy.
void Leadership::TryIfDue() {
  if (clock_.Now() < next_try_) return;
  const auto pause = elector_.Try();
  next_try_ = clock_.Now() + (neighbour_ && !elector_.tenure() ? std::min(pause, LookPeriod()) : pause);
}

void Leadership::LookIfDue() {
  if (clock_.Now() < next_try_) return;
  elector_.Look();
  next_try_ = clock_.Now() + options_.elector.timings.retry_period;
}

// What is on its way when the fence closes must have ended before another may begin.
void Leadership::Resign() {
  {
    const MutexLock lock(mutex_);
    resigning_ = true;
    if (writes_ > 0 && elector_.tenure()->Lasts(clock_)) return;
  }
  if (!elector_.tenure()->Lasts(clock_)) return elector_.Forget();
  if (auto released = elector_.Release(); !released) log::warn("{}; it runs out by itself", released.error().message);
}

void Leadership::Publish() {
  const MutexLock lock(mutex_);
  tenure_ = elector_.tenure();
  holder_ = elector_.holder();
  if (!tenure_) resigning_ = false;
  if (!tenure_ || tenure_->term == last_term_) return;
  last_term_ = tenure_->term;
  read_ = pods_.read_again();
  gained_at_ = clock_.Now();
}

// Says what has changed.
void Leadership::Note() {
  std::string trouble = elector_.trouble();
  if (neighbour_ && trouble.empty()) trouble = neighbour_->trouble();
  if (trouble != trouble_noted_ && !trouble.empty()) log::warn("leader election: {}", trouble);
  trouble_noted_ = trouble;
  const MutexLock lock(mutex_);
  const Phase phase = PhaseLocked();
  if (phase == noted_) return;
  const bool was_active = noted_ == Phase::kActive;
  noted_ = phase;
  registry_.SetGauge(metrics::kActive, phase == Phase::kActive);
  if (phase == Phase::kActive) {
    const auto took = std::chrono::duration_cast<milliseconds>(clock_.Now() - gained_at_);
    log::info("active: every pod was read {} ms after the lease {} was acquired", took.count(), lease_->name());
    registry_.GetCounter(metrics::kActiveChanges, {"active"}).Inc();
  } else {
    log::info("{}", StatusLocked());
    if (was_active) registry_.GetCounter(metrics::kActiveChanges, {"standby"}).Inc();
  }
}

void Leadership::Start() {
  thread_ = std::jthread([this](std::stop_token stop) { Run(std::move(stop)); });
}

void Leadership::Run(std::stop_token stop) {
  const std::stop_callback waker(stop, [this] {
    const MutexLock lock(mutex_);
    wake_.notify_all();
  });
  while (!stop.stop_requested()) {
    const auto pause = Tick();
    const MutexLock lock(mutex_);
    if (!stop.stop_requested()) wake_.wait_for(mutex_, pause);
  }
}

void Leadership::Stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
  if (!elector_.tenure()) return;
  Resign();
  elector_.Forget();
  Publish();
  Note();
}

}  // namespace partage::app
