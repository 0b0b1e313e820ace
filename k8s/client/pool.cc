// SPDX-License-Identifier: Apache-2.0
#include "k8s/client/pool.h"

namespace partage::k8s {
namespace {

// API servers and load balancers close idle connections after 60 to 90 seconds. Leaving first keeps a request from crossing their goodbye on the way.
constexpr std::chrono::seconds kMaxIdle{30};

}  // namespace

Pool::Lease Pool::Acquire(std::chrono::steady_clock::time_point deadline) {
  Idle idle;
  {
    MutexLock lock(mutex_);
    if (!freed_.wait_until(mutex_, deadline, [this]() PARTAGE_REQUIRES(mutex_) { return busy_ < max_; })) return {*this, nullptr};
    ++busy_;
    if (!idle_.empty()) {
      idle = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (!idle.connection) {
    idle.connection = make_();
  } else if (clock_.Now() - idle.since > kMaxIdle) {
    idle.connection->Close();
  } else {
    idle.connection->CloseIfStale();
  }
  return {*this, std::move(idle.connection)};
}

void Pool::Return(std::unique_ptr<Connection> connection) {
  MutexLock lock(mutex_);
  --busy_;
  idle_.push_back({std::move(connection), clock_.Now()});
  freed_.notify_one();
}

}  // namespace partage::k8s
