// SPDX-License-Identifier: Apache-2.0
#include "test/intercept/limiter/sim_gpu.h"

#include <algorithm>
#include <utility>

namespace partage::test {

void Agenda::RunUntil(int64_t end) {
  while (!events_.empty() && events_.top().when <= end) {
    auto what = std::move(const_cast<Event&>(events_.top()).what);
    now_ = std::max(now_, events_.top().when);
    events_.pop();
    what();
  }
  now_ = end;
}

int SimGpu::AddContext() {
  contexts_.emplace_back();
  return static_cast<int>(contexts_.size()) - 1;
}

void SimGpu::Launch(int context, int64_t duration_ns) {
  ++contexts_[context].kernels;
  Submit(context, {duration_ns, nullptr});
}

void SimGpu::Record(int context, int64_t* stamp) { Submit(context, {kEventNs, stamp}); }

void SimGpu::Submit(int context, Work work) {
  contexts_[context].queue.push_back(work);
  if (running_ < 0) {
    Choose();
  } else if (running_ != context) {
    Arm();  // the running context now has somebody to yield to
  }
}

void SimGpu::WhenAtMost(int context, int most, std::function<void()> then) {
  Context& it = contexts_[context];
  if (it.kernels <= most) return agenda_.After(0, std::move(then));
  it.waiters.push_back({most, std::move(then)});
}

int SimGpu::NextReady() const {
  const int count = static_cast<int>(contexts_.size());
  for (int i = 1; i <= count; ++i) {
    const int candidate = (last_ + i + count) % count;
    if (!contexts_[candidate].queue.empty()) return candidate;
  }
  return -1;
}

void SimGpu::Choose() {
  const int next = NextReady();
  running_ = next;
  if (next < 0) return;
  resumed_ = agenda_.now() + (next == last_ ? 0 : switch_ns_);
  slice_end_ = resumed_ + kSliceNs;
  last_ = next;
  Arm();
}

void SimGpu::Arm() {
  const Context& context = contexts_[running_];
  int64_t when = resumed_ + context.queue.front().left_ns;
  const bool shared = std::any_of(contexts_.begin(), contexts_.end(), [&](const Context& c) { return &c != &context && !c.queue.empty(); });
  if (shared) when = std::min(when, std::max(slice_end_, agenda_.now()));
  agenda_.At(when, [this, timer = ++timer_] { OnTimer(timer); });
}

void SimGpu::OnTimer(uint64_t timer) {
  if (timer != timer_) return;
  CatchUp();
  Context& context = contexts_[running_];
  if (context.queue.front().left_ns <= 0) Finish(context);
  if (context.queue.empty() || agenda_.now() >= slice_end_) return Choose();
  Arm();
}

void SimGpu::CatchUp() {
  const int64_t now = agenda_.now();
  if (running_ < 0 || now <= resumed_) return;
  Account(contexts_[running_], resumed_, now);
  contexts_[running_].queue.front().left_ns -= now - resumed_;
  resumed_ = now;
}

void SimGpu::Finish(Context& context) {
  const Work work = context.queue.front();
  context.queue.pop_front();
  if (work.stamp != nullptr) {
    *work.stamp = agenda_.now();
    return;
  }
  --context.kernels;
  auto ready = std::partition(context.waiters.begin(), context.waiters.end(), [&](const Waiter& w) { return w.most < context.kernels; });
  std::for_each(ready, context.waiters.end(), [&](Waiter& w) { agenda_.After(0, std::move(w.then)); });
  context.waiters.erase(ready, context.waiters.end());
}

void SimGpu::Account(Context& context, int64_t from, int64_t to) {
  busy_ns_ += to - from;
  while (from < to) {
    const auto bin = static_cast<size_t>(from / kBinNs);
    if (context.bins.size() <= bin) context.bins.resize(bin + 1);
    const int64_t until = std::min<int64_t>(to, (from / kBinNs + 1) * kBinNs);
    context.bins[bin] += until - from;
    from = until;
  }
}

int64_t SimGpu::Used(int context, int64_t from, int64_t to) const {
  const std::vector<int64_t>& bins = contexts_[context].bins;
  int64_t sum = 0;
  for (auto bin = from / kBinNs; bin < to / kBinNs && bin < static_cast<int64_t>(bins.size()); ++bin) sum += bins[bin];
  return sum;
}

}  // namespace partage::test
