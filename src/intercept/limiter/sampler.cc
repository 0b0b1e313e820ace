// SPDX-License-Identifier: Apache-2.0
#include "intercept/limiter/sampler.h"

namespace partage::intercept::limiter {

namespace {
constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr uint32_t kCalibrateEvery = 16;
constexpr int64_t kLongestEventNs = 20'000;  // drivers take one to five us; in a longer time the host paused between its two calls
constexpr int kMostAsked = 8;                // events that have not been reached cost a microsecond each to ask for
}  // namespace

int Sampler::Acquire(void* context) {
  for (int pass = 0; pass < 2; ++pass) {
    for (int i = 0; i < kSlots; ++i) {
      Slot& slot = slots_[i];
      if (slot.state.load(kRelaxed) != kFree) continue;
      void* const owner = slot.context.load(kRelaxed);
      const bool ours = owner == context || owner == nullptr;
      if (!ours && pass == 0) continue;  // a slot of another context costs new events
      uint32_t free = kFree;
      if (slot.state.compare_exchange_strong(free, kHeld, std::memory_order_acquire)) return i;
    }
  }
  return -1;
}

bool Sampler::Renew(const EventDriver& driver, Slot& slot, void* context) {
  if (!TryLock()) return false;  // the other context may be dying at this moment
  for (void*& event : slot.events) {
    if (event != nullptr) driver.destroy(event);
    event = nullptr;
  }
  slot.context.store(context, kRelaxed);
  Unlock();
  return true;
}

bool Sampler::Prepare(const EventDriver& driver, Slot& slot, void* context) {
  if (slot.context.load(kRelaxed) != context && !Renew(driver, slot, context)) return false;
  for (void*& event : slot.events) {
    if (event == nullptr) event = driver.create();
    if (event == nullptr) return false;
  }
  return true;
}

void Sampler::Release(Slot& slot) { slot.state.store(kFree, std::memory_order_release); }

int Sampler::Start(const EventDriver& driver, void* stream, CostKey key, CostCell* cell, int device) {
  void* context = driver.current_context();
  const int index = context == nullptr ? -1 : Acquire(context);
  if (index < 0) return -1;
  Slot& slot = slots_[index];
  slot.key = key;
  slot.cell = cell;
  slot.device = device;
  slot.seen_ns = 0;
  slot.calibrates = started_.fetch_add(1, kRelaxed) % kCalibrateEvery == 0;
  const bool ready = Prepare(driver, slot, context) && (!slot.calibrates || driver.record(slot.events[0], stream));
  if (ready && driver.record(slot.events[1], stream)) return index;
  Release(slot);
  return -1;
}

bool Sampler::Finish(const EventDriver& driver, int index, void* stream, bool launched) {
  Slot& slot = slots_[index];
  if (!launched || !driver.record(slot.events[2], stream)) {
    Release(slot);
    return false;
  }
  flying_.fetch_add(1, kRelaxed);
  slot.state.store(kFlying, std::memory_order_release);
  return true;
}

int64_t Sampler::Span(const EventDriver& driver, const Slot& slot) {
  if (slot.calibrates) {
    const int64_t event = driver.elapsed_ns(slot.events[0], slot.events[1]);
    // The smallest: a neighbour's time slice may have fallen in between.
    if (event >= 0 && event <= kLongestEventNs && (event_ns_ == 0 || event < event_ns_)) event_ns_ = event;
  }
  const int64_t span = driver.elapsed_ns(slot.events[1], slot.events[2]);
  if (span < 0) return span;
  return span > 2 * event_ns_ ? span - event_ns_ : span / 2;  // a launch this short is mostly event, but not nothing
}

bool Sampler::Finished(const EventDriver& driver, Slot& slot, Measured* out) {
  const int reached = driver.query(slot.events[2]);
  if (reached == 0) return false;
  *out = {slot.cell, slot.key, reached > 0 ? Span(driver, slot) : -1, slot.device};
  flying_.fetch_sub(1, kRelaxed);
  Release(slot);
  return true;
}

bool Sampler::Collect(const EventDriver& driver, Measured* out) {
  const int flying = flying_.load(kRelaxed);
  if (flying <= 0 || !TryLock()) return false;
  if (flying <= kMostAsked) next_ = 0;  // the few are in the first slots; of many, each has its turn
  bool found = false;
  for (int looked = 0, asked = 0; !found && looked < kSlots && asked < flying && asked < kMostAsked; ++looked) {
    Slot& slot = slots_[next_];
    next_ = (next_ + 1) % kSlots;
    if (slot.state.load(std::memory_order_acquire) != kFlying) continue;
    ++asked;
    found = Finished(driver, slot, out);
  }
  Unlock();
  return found;
}

int64_t Sampler::RunningFor(const EventDriver& driver, CostKey key, int64_t now_ns) {
  if (!TryLock()) return 0;
  int64_t running = 0;
  for (Slot& slot : slots_) {
    if (slot.state.load(std::memory_order_acquire) != kFlying || slot.key != key) continue;
    if (slot.seen_ns == 0 && driver.query(slot.events[1]) > 0) slot.seen_ns = now_ns;
    if (slot.seen_ns != 0 && now_ns - slot.seen_ns > running) running = now_ns - slot.seen_ns;
  }
  Unlock();
  return running;
}

void Sampler::Pause() {
  while (!TryLock()) {
  }
}

template <class Match>
void Sampler::Forget(Match&& match) {
  for (Slot& slot : slots_) {
    uint32_t state = slot.state.load(kRelaxed);
    // A held slot is another thread's, which launches into a context that is being destroyed: its own mistake.
    if (state == kHeld || !slot.state.compare_exchange_strong(state, kHeld, std::memory_order_acquire)) continue;
    if (!match(slot)) {
      slot.state.store(state, std::memory_order_release);
      continue;
    }
    if (state == kFlying) {
      flying_.fetch_sub(1, kRelaxed);
      slot.cell->first_stamp_ns.store(0, kRelaxed);
    }
    slot.context.store(nullptr, kRelaxed);
    for (void*& event : slot.events) event = nullptr;
    Release(slot);
  }
}

void Sampler::ForgetContext(void* context) {
  Forget([=](const Slot& slot) { return slot.context.load(kRelaxed) == context; });
}

void Sampler::ForgetDevice(int device) {
  Forget([=](const Slot& slot) { return slot.context.load(kRelaxed) != nullptr && slot.device == device; });
}

void Sampler::Reset() {
  for (Slot& slot : slots_) {
    slot.context.store(nullptr, kRelaxed);
    for (void*& event : slot.events) event = nullptr;
    slot.state.store(kFree, kRelaxed);
  }
  flying_.store(0, kRelaxed);
  Unlock();
}

}  // namespace partage::intercept::limiter
