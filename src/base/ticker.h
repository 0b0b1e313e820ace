// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace partage {

/// Calls a function again and again, `period` after it returned, on a thread of its own from Start to Stop. Start and Stop are for one thread; both are
/// idempotent. What the function uses must outlive the Ticker, so it is declared last.
class Ticker {
 public:
  ~Ticker() { Stop(); }

  void Start(std::chrono::milliseconds period, std::function<void()> tick) {
    if (thread_.joinable()) return;
    thread_ = std::jthread([period, tick = std::move(tick)](const std::stop_token& stop) {
      std::mutex mutex;
      std::condition_variable_any wake;
      std::unique_lock lock(mutex);
      while (!stop.stop_requested()) {
        tick();
        wake.wait_for(lock, stop, period, [] { return false; });
      }
    });
  }

  /// Returns when no call is running and none will begin.
  void Stop() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::jthread thread_;
};

}  // namespace partage
