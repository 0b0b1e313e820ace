// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <queue>
#include <vector>

namespace partage::test {

/// Simulated time in ns and what happens at which instant, in order; equal instants in the order they were asked for.
class Agenda {
 public:
  int64_t now() const { return now_; }
  void At(int64_t when, std::function<void()> what) { events_.push({when, ++sequence_, std::move(what)}); }
  void After(int64_t ns, std::function<void()> what) { At(now_ + ns, std::move(what)); }
  void RunUntil(int64_t end);

 private:
  struct Event {
    int64_t when;
    uint64_t sequence;
    std::function<void()> what;
    bool operator<(const Event& other) const { return when != other.when ? when > other.when : sequence > other.sequence; }
  };
  std::priority_queue<Event> events_;
  int64_t now_ = 1'000'000'000;
  uint64_t sequence_ = 0;
};

/// A GPU that contexts take turns on: one context at a time, for a time slice while others have work; within a context first in, first out.
/// A kernel that outlives the slice is preempted and goes on in the context's next one, as on real parts without MPS.
class SimGpu {
 public:
  static constexpr int64_t kSliceNs = 2'000'000;
  static constexpr int64_t kEventNs = 700;  ///< what recording an event occupies
  static constexpr int64_t kBinNs = 10'000'000;

  SimGpu(Agenda& agenda, int64_t switch_ns = 0) : agenda_(agenda), switch_ns_(switch_ns) {}

  int AddContext();
  void Launch(int context, int64_t duration_ns);
  /// An event in the context's queue; `*stamp` becomes the instant it is reached.
  void Record(int context, int64_t* stamp);
  /// Launches not yet finished.
  int outstanding(int context) const { return contexts_[context].kernels; }
  /// Calls back once when at most `most` launches of the context are unfinished.
  void WhenAtMost(int context, int most, std::function<void()> then);

  /// Brings the books up to now in the middle of a kernel.
  void CatchUp();

  /// GPU time the context used in [from, to), both multiples of kBinNs.
  int64_t Used(int context, int64_t from, int64_t to) const;
  /// GPU time of all contexts so far.
  int64_t busy_ns() const { return busy_ns_; }

 private:
  struct Work {
    int64_t left_ns;
    int64_t* stamp;  // of an event
  };
  struct Waiter {
    int most;
    std::function<void()> then;
  };
  struct Context {
    std::deque<Work> queue;
    int kernels = 0;
    std::vector<Waiter> waiters;
    std::vector<int64_t> bins;
  };

  void Submit(int context, Work work);
  void Choose();
  void Arm();
  void OnTimer(uint64_t timer);
  void Account(Context& context, int64_t from, int64_t to);
  void Finish(Context& context);
  int NextReady() const;

  Agenda& agenda_;
  int64_t switch_ns_;
  std::vector<Context> contexts_;
  int running_ = -1;
  int last_ = -1;
  int64_t resumed_ = 0;
  int64_t slice_end_ = 0;
  uint64_t timer_ = 0;
  int64_t busy_ns_ = 0;
};

}  // namespace partage::test
