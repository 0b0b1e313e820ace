// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

#include "intercept/limiter/cost_model.h"

namespace partage::intercept::limiter {

/// The driver's events, or a simulator's. Every function may be called from any thread with its launch's context current, except `query`,
/// `elapsed_ns` and `destroy`, which must work with any context current and while some stream is capturing.
struct EventDriver {
  void* (*current_context)();
  void* (*create)();  ///< nullptr: cannot
  bool (*record)(void* event, void* stream);
  int (*query)(void* event);                         ///< 1 reached, 0 not yet, -1 failed
  int64_t (*elapsed_ns)(void* first, void* second);  ///< between two reached events; negative: failed
  void (*destroy)(void* event);
};

/// One finished measurement.
struct Measured {
  CostCell* cell;
  CostKey key;
  int64_t gpu_ns;  ///< negative: lost, nothing is known
  int device;
};

/// Times single launches with an event before and one after; now and then with another one before, to learn what an event itself takes.
///
/// Nothing waits and no thread runs: launches record, later launches collect. A fixed number is under way at a time; more are not measured.
/// Thread-safe; all zero when new (static storage).
class Sampler {
 public:
  static constexpr int kSlots = 48;

  /// Records the events before a launch. Returns the slot for Finish, or -1 when this launch cannot be measured.
  int Start(const EventDriver& driver, void* stream, CostKey key, CostCell* cell, int device);

  /// Records the event after the launch; a launch that failed (or whose event did) is given up. False: given up.
  bool Finish(const EventDriver& driver, int slot, void* stream, bool launched);

  /// Takes out one finished measurement; false when there is none, or when another thread is collecting.
  bool Collect(const EventDriver& driver, Measured* out);

  /// For how long a launch of this key, begun and not finished, has been seen on the GPU. 0: not seen yet.
  int64_t RunningFor(const EventDriver& driver, CostKey key, int64_t now_ns);

  /// From Pause to Resume no other thread asks for an event or destroys one. Short: others spin, or do without.
  void Pause();
  void Resume() { Unlock(); }
  /// The context was destroyed, and its events with it; or some context of the device. REQUIRES: paused since before that.
  void ForgetContext(void* context);
  void ForgetDevice(int device);

  /// In the child of a fork nothing of this is valid.
  void Reset();

  bool Idle() const { return flying_.load(std::memory_order_relaxed) == 0; }

 private:
  enum State : uint32_t { kFree, kHeld, kFlying };
  struct Slot {
    std::atomic<uint32_t> state;
    int device = 0;
    bool calibrates = false;     // the first event was recorded too
    std::atomic<void*> context;  // whose the events are
    void* events[3] = {};        // calibration, before, after
    CostKey key = 0;
    CostCell* cell = nullptr;
    int64_t seen_ns = 0;  // when the launch was first seen running; 0: not yet. Guarded by collecting_
  };

  int Acquire(void* context);
  bool Prepare(const EventDriver& driver, Slot& slot, void* context);
  void Release(Slot& slot);
  bool Renew(const EventDriver& driver, Slot& slot, void* context);
  template <class Match>
  void Forget(Match&& match);
  bool Finished(const EventDriver& driver, Slot& slot, Measured* out);
  int64_t Span(const EventDriver& driver, const Slot& slot);
  bool TryLock() { return !collecting_.exchange(true, std::memory_order_acquire); }
  void Unlock() { collecting_.store(false, std::memory_order_release); }

  Slot slots_[kSlots];
  std::atomic<int> flying_;
  std::atomic<uint32_t> started_;
  int next_ = 0;          // where the next Collect looks first. Guarded by collecting_
  int64_t event_ns_ = 0;  // smallest distance of two events with nothing in between. Guarded by collecting_
  std::atomic<bool> collecting_;
};

}  // namespace partage::intercept::limiter
