// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "k8s/api/node.h"
#include "k8s/api/pod.h"
#include "k8s/client/client.h"

namespace partage::k8s {

/// Where a Reflector sends what it sees. Called on the reflector's thread, one call at a time.
/// A full read is ReplaceBegin, Upsert…, ReplaceEnd: whatever was not named between the two, and was known before ReplaceBegin, is gone.
/// ReplaceBegin is called before the list request is sent; a read that fails half-way is followed by another ReplaceBegin.
/// Nothing is stored by the reflector: 120,000 pods pass through, none stays.
template <class T>
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void ReplaceBegin() = 0;
  virtual void ReplaceEnd() = 0;
  virtual void Upsert(T&& object) = 0;
  virtual void Remove(T&& last_state) = 0;
  /// An object that DecodePod/DecodeNode refused. `what` names it as far as it could be read.
  virtual void Undecodable(const std::string& what, const Error& error) = 0;
  /// After a burst of calls (a list page, or the watch frames that arrived together): time to publish.
  virtual void Flush() = 0;
};

struct ReflectorOptions {
  std::string path;                        ///< "/api/v1/pods"
  std::string query;                       ///< extra parameters, "fieldSelector=…"; may be empty
  int page_size = 1000;
  bool watch_list = true;                  ///< try sendInitialEvents; falls back to list + watch by itself when refused (422/400)
  std::chrono::milliseconds backoff_first{800}, backoff_max{30000};
};

/// Counters for metrics; read from any thread.
struct ReflectorStats {
  std::atomic<std::uint64_t> lists{0}, relists_410{0}, watches{0}, events{0}, undecodable{0}, errors{0};
};

/// Keeps a Sink in step with one resource of the API server, by client-go's reflector algorithm (list or streaming list, watch with bookmarks, 410 → relist,
/// 429 and refused connections → keep the version and re-watch, back-off with jitter). Owns one thread. Client, sink and clock must outlive it.
/// T is Pod or Node.
template <class T>
class Reflector {
 public:
  Reflector(Client& client, ReflectorOptions options, Sink<T>& sink, const Clock& clock);
  ~Reflector();   ///< Stop()
  /// True once a full read has ended. Thread-safe.
  bool synced() const;
  /// Blocks until synced or the time is up; returns synced(). Thread-safe.
  bool WaitSynced(std::chrono::milliseconds timeout) const;
  const ReflectorStats& stats() const;
  /// Idempotent; returns when the thread has ended (within about a second).
  void Stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

extern template class Reflector<Pod>;
extern template class Reflector<Node>;

}  // namespace partage::k8s
