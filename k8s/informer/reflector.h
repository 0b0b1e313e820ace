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
#include "k8s/api/resource_quota.h"
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
  /// When the last state cannot be decoded, only names and UID are filled.
  virtual void Remove(T&& last_state) = 0;
  /// An object that exists and that its decoder refused. Only names, UID and, of a pod, its node and phase are filled, as far as
  /// they could be read: it still occupies what it occupied.
  virtual void Undecodable(T&& identity, const Error& error) = 0;
  /// After a burst of calls (a list page, or the watch frames that arrived together): time to publish.
  virtual void Flush() = 0;
};

struct ReflectorOptions {
  std::string path;   ///< "/api/v1/pods"
  std::string query;  ///< extra parameters, "fieldSelector=…"; may be empty
  int page_size = 1000;
  bool watch_list = true;  ///< read by sendInitialEvents; falls back to pages by itself where a server refuses (400, 422) or ignores it
  std::chrono::milliseconds watch_list_patience{10000};  ///< longest silence in such a read before the fall-back
  std::chrono::milliseconds backoff_first{800}, backoff_max{8000};
  std::chrono::milliseconds unreachable_max{2000};  ///< of the delays while nobody answers
};

/// Counters for metrics; read from any thread.
struct ReflectorStats {
  std::atomic<std::uint64_t> lists{0}, relists_410{0}, watches{0}, events{0}, undecodable{0}, errors{0};
};

/// Keeps a Sink in step with one resource of the API server, by client-go's reflector algorithm, with shorter delays. Owns one thread. Client, sink and clock
/// must outlive it. T is Pod, Node or ResourceQuota.
///
///            ┌──────── 410, other HTTP errors, a watch that ended at once (back-off) ────────┐
///            ▼                                                                               │
///     full read (streaming list, else pages) ──── ReplaceEnd ────▶ watch from its version ───┤
///            │      ▲                                                │      ▲                │
///            └──────┘ failed (back-off)                              └──────┘ ended by the server; or 429, server unreachable (back-off)
///
/// Every full read asks for the newest state (no resourceVersion), which the API server answers from, or confirms with, a quorum of its store.
/// Back-off: first, doubling up to max, jittered to [d, 2d), from the start again after two healthy minutes; never shorter than a Retry-After. A server that
/// cannot be reached is not spared by long waits, but blind we are until it is found again: there the delays end earlier, and do not lengthen the
/// others. A version that was forgotten, after a watch from it had been served, is answered by a read at once.
template <class T>
class Reflector {
 public:
  Reflector(Client& client, ReflectorOptions options, Sink<T>& sink, const Clock& clock);
  ~Reflector();  ///< Stop()
  /// True once a full read has ended. Thread-safe.
  bool synced() const;
  /// Blocks until synced or the time is up; returns synced(). Thread-safe.
  bool WaitSynced(std::chrono::milliseconds timeout) const;
  const ReflectorStats& stats() const;
  /// Has everything read in full once more, by a consistent read that begins after this call. Returns its number, for HasRead. Thread-safe.
  std::uint64_t ReadAgain();
  /// Whether the sink shows all that was true when the ReadAgain that returned `number` was called. Thread-safe.
  bool HasRead(std::uint64_t number) const;
  /// Idempotent; returns when the thread has ended (within about a second).
  void Stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

extern template class Reflector<Pod>;
extern template class Reflector<Node>;
extern template class Reflector<ResourceQuota>;

}  // namespace partage::k8s
