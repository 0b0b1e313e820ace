// SPDX-License-Identifier: Apache-2.0
// Private to this folder.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "k8s/client/connection.h"

namespace partage::k8s {

/// Connections to one server, at most `max` at a time; who comes when all are busy waits. Thread-safe.
class Pool {
 public:
  Pool(std::function<std::unique_ptr<Connection>()> make, int max, const Clock& clock) : make_(std::move(make)), max_(max), clock_(clock) {}

  /// Gives the connection back when it goes.
  class Lease {
   public:
    Lease(Pool& pool, std::unique_ptr<Connection> connection) : pool_(&pool), connection_(std::move(connection)) {}
    Lease(Lease&&) = default;
    ~Lease() {
      if (connection_) pool_->Return(std::move(connection_));
    }
    explicit operator bool() const { return connection_ != nullptr; }
    Connection* operator->() const { return connection_.get(); }

   private:
    Pool* pool_;
    std::unique_ptr<Connection> connection_;
  };

  /// The connection used last that is still good, else one that will connect. Empty when none was free until the deadline.
  Lease Acquire(std::chrono::steady_clock::time_point deadline);

 private:
  struct Idle {
    std::unique_ptr<Connection> connection;
    Clock::Mono since{};
  };
  void Return(std::unique_ptr<Connection> connection);

  const std::function<std::unique_ptr<Connection>()> make_;
  const int max_;
  const Clock& clock_;
  Mutex mutex_;
  CondVar freed_;
  int busy_ PARTAGE_GUARDED_BY(mutex_) = 0;
  std::vector<Idle> idle_ PARTAGE_GUARDED_BY(mutex_);
};

}  // namespace partage::k8s
