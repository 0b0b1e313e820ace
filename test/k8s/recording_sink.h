// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "k8s/informer/reflector.h"

namespace partage::test {

inline std::string KeyOf(const k8s::Pod& pod) { return pod.FullName(); }
inline std::string KeyOf(const k8s::Node& node) { return node.name; }

/// A Sink that keeps what it is told, as a cluster state would: objects by key, replaced by full reads. Thread-safe.
template <class T>
class RecordingSink final : public k8s::Sink<T> {
 public:
  struct State {
    std::map<std::string, std::uint64_t> versions;  ///< resource version by key
    std::vector<std::string> removed;               ///< keys given to Remove
    std::vector<std::string> undecodable;           ///< "what: message"
    int begins = 0, ends = 0, flushes = 0;
  };

  void ReplaceBegin() override {
    MutexLock lock(mutex_);
    ++state_.begins;
    seen_.clear();
  }
  void ReplaceEnd() override {
    MutexLock lock(mutex_);
    ++state_.ends;
    std::erase_if(state_.versions, [&](const auto& item) { return !seen_.contains(item.first); });
  }
  void Upsert(T&& object) override {
    MutexLock lock(mutex_);
    seen_.insert(KeyOf(object));
    state_.versions[KeyOf(object)] = object.resource_version;
  }
  void Remove(T&& last_state) override {
    MutexLock lock(mutex_);
    state_.removed.push_back(KeyOf(last_state));
    state_.versions.erase(KeyOf(last_state));
  }
  void Undecodable(T&& identity, const Error& error) override {
    MutexLock lock(mutex_);
    state_.undecodable.push_back(KeyOf(identity) + ": " + error.message);
  }
  void Flush() override {
    MutexLock lock(mutex_);
    ++state_.flushes;
    flushed_.notify_all();
  }

  State state() const {
    MutexLock lock(mutex_);
    return state_;
  }
  /// True when the state satisfies `done` at a Flush within ten seconds.
  bool WaitFor(const std::function<bool(const State&)>& done) const {
    MutexLock lock(mutex_);
    return flushed_.wait_for(mutex_, std::chrono::seconds(10), [&]() PARTAGE_REQUIRES(mutex_) { return done(state_); });
  }
  bool WaitForSize(std::size_t size) const {
    return WaitFor([=](const State& state) { return state.versions.size() == size; });
  }

 private:
  mutable Mutex mutex_;
  mutable CondVar flushed_;
  State state_ PARTAGE_GUARDED_BY(mutex_);
  std::set<std::string> seen_ PARTAGE_GUARDED_BY(mutex_);
};

}  // namespace partage::test
