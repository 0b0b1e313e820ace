// SPDX-License-Identifier: Apache-2.0
// Host functions run on one thread, started by the first, in the order in which they were queued.
#include <condition_variable>
#include <deque>
#include <thread>

#include "test/support/libcuda/cuda/driver.h"

namespace partage::fake_gpu {
namespace {

struct HostCall {
  int gpu;
  int64_t mark;
  CUhostFn fn;
  void* data;
};

class HostCalls {
 public:
  static HostCalls& Get() {
    static HostCalls& calls = *new HostCalls;
    return calls;
  }

  uint64_t Queue(const HostCall& call) {
    const std::lock_guard lock(mutex_);
    if (queued_ == 0) std::thread([this] { Run(); }).detach();  // lives as long as the process, as the driver's does
    calls_.push_back(call);
    changed_.notify_all();
    return ++queued_;
  }

  bool Done(uint64_t number) {
    const std::lock_guard lock(mutex_);
    return done_ >= number;
  }

  void Wait(uint64_t number) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_ >= number; });
  }

 private:
  [[noreturn]] void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return !calls_.empty(); });
      const HostCall call = calls_.front();
      calls_.pop_front();
      lock.unlock();
      Gpus::Get().Wait(call.gpu, call.mark);
      call.fn(call.data);
      lock.lock();
      ++done_;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<HostCall> calls_;
  uint64_t queued_ = 0, done_ = 0;
};

}  // namespace

uint64_t QueueHostCall(int gpu, int64_t mark, CUhostFn fn, void* data) { return HostCalls::Get().Queue({gpu, mark, fn, data}); }
bool HostCallDone(uint64_t number) { return number == 0 || HostCalls::Get().Done(number); }
void WaitHostCall(uint64_t number) {
  if (number > 0) HostCalls::Get().Wait(number);
}

}  // namespace partage::fake_gpu
