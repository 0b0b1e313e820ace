// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <vector>

#include "http/connection.h"

namespace partage::http {

void ConnectionSet::Add(std::shared_ptr<Connection> connection) {
  MutexLock lock(mutex_);
  const auto* key = connection.get();
  connections_.emplace(key, std::move(connection));
}

void ConnectionSet::Remove(const Connection* connection) {
  std::shared_ptr<Connection> last;  // destroyed after the lock
  MutexLock lock(mutex_);
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  last = std::move(found->second);
  connections_.erase(found);
  if (connections_.empty()) emptied_.notify_all();
}

std::size_t ConnectionSet::size() const {
  MutexLock lock(mutex_);
  return connections_.size();
}

void ConnectionSet::TellAll(Connection::Order order) {
  MutexLock lock(mutex_);
  for (const auto& [key, connection] : connections_) connection->Tell(order);
}

void ConnectionSet::TellExpired(Connection::TimePoint now) {
  MutexLock lock(mutex_);
  for (const auto& [key, connection] : connections_) {
    if (connection->deadline() <= now) connection->Tell(Connection::Order::kExpire);
  }
}

std::size_t ConnectionSet::TellOldest(Phase phase, Connection::Order order, std::size_t count, Connection::TimePoint due_by) {
  MutexLock lock(mutex_);
  // All have the same time-out in a phase, so the earliest deadline has been in it for longest.
  std::vector<std::pair<Connection::TimePoint, Connection*>> found;
  for (const auto& [key, connection] : connections_) {
    if (connection->phase() == phase && connection->deadline() <= due_by) found.emplace_back(connection->deadline(), connection.get());
  }
  count = std::min(count, found.size());
  std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count), found.end());
  for (std::size_t i = 0; i < count; ++i) found[i].second->Tell(order);
  return count;
}

bool ConnectionSet::WaitEmpty(Connection::TimePoint deadline) const {
  MutexLock lock(mutex_);
  while (!connections_.empty()) {
    if (emptied_.wait_until(mutex_, deadline) == std::cv_status::timeout) return connections_.empty();
  }
  return true;
}

}  // namespace partage::http
