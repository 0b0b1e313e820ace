// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>

#include "intercept/limiter/sampler.h"

namespace partage::test {

/// Events of a driver in one thread's hands: a test says what time it is, which context is current, and what fails.
struct FakeEvents {
  struct Event {
    void* context;
    int64_t stamp;  // 0: not reached
  };
  inline static std::deque<Event> events;
  inline static void* context;
  inline static int64_t now;
  inline static bool reached;  // whether an event is reached when it is recorded
  inline static int create_fails, record_fails, query_fails;
  inline static int destroyed;

  static void Restart() {
    events.clear();
    context = &events;
    now = 1'000'000;
    reached = true;
    create_fails = record_fails = query_fails = destroyed = 0;
  }
  /// Everything recorded so far is reached now.
  static void Reach() {
    for (Event& event : events) event.stamp = event.stamp != 0 ? event.stamp : now;
  }

  static void* Context() { return context; }
  static void* Create() { return create_fails > 0 ? (--create_fails, nullptr) : &events.emplace_back(Event{context, 0}); }
  static bool Record(void* event, void*) {
    auto* it = static_cast<Event*>(event);
    if (record_fails > 0 || it->context != context) return --record_fails, false;
    it->stamp = reached ? now : 0;
    return true;
  }
  static int Query(void* event) { return query_fails > 0 ? (--query_fails, -1) : static_cast<Event*>(event)->stamp != 0; }
  static int64_t Elapsed(void* first, void* second) { return static_cast<Event*>(second)->stamp - static_cast<Event*>(first)->stamp; }
  static void Destroy(void*) { ++destroyed; }

  inline static const intercept::limiter::EventDriver kDriver = {Context, Create, Record, Query, Elapsed, Destroy};
};

}  // namespace partage::test
