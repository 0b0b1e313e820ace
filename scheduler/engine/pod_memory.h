// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "device/request.h"
#include "scheduler/engine/engine.h"

namespace partage::scheduler {

/// What the engine remembers of pods between calls: the parsed request (for Bind, which names only the pod) and, of refused ones, why. At most kLimit pods; the
/// longest untouched go first. Losing an entry costs one read of the pod or one late retry, never a wrong placement. Thread-safe.
class PodMemory {
 public:
  static constexpr std::size_t kLimit = 200000;
  using Request = std::shared_ptr<const device::PodRequest>;

  /// The node whose arithmetic a waiting pod was last told.
  struct Nearest {
    std::string node;   ///< empty: no node is to blame, a quota is
    std::string group;  ///< GroupText of its refusal then
    std::string text;
    Clock::Mono since;
  };

  void RememberFit(const PodRef& pod, Request request);
  /// Where evictions could help a refused pod; no nodes: nowhere, or it may not preempt.
  struct Targets {
    std::shared_ptr<const std::vector<NodeId>> nodes;
    std::weak_ptr<const NodeIndex> index;
  };
  /// Of all targets together at most this many nodes are kept; pods beyond wait without preempting until their next filter.
  static constexpr std::size_t kTargetLimit = 2'000'000;

  void RememberRefused(const PodRef& pod, Request request, Nearest nearest, Targets targets, Clock::Mono now);
  void Forget(std::string_view uid);
  /// Until its next filter nobody is to be evicted for it.
  void ForgetTargets(std::string_view uid);

  /// From BeginRead to EndRead a full read of the pods names all that exist; what was neither touched nor seen since is forgotten at its end.
  void BeginRead();
  void See(std::string_view uid);
  void EndRead();

  /// Null when nothing is remembered.
  Request RequestOf(const PodRef& pod) const;
  std::optional<Nearest> NearestOf(const PodRef& pod) const;

  /// What is remembered of a pod of this name.
  std::optional<Engine::Remembered> Find(std::string_view ns, std::string_view name) const;

  std::vector<Engine::Waiting> waiting() const;
  std::size_t waiting_count() const;
  std::vector<Engine::Preemptor> Preemptors(std::size_t limit) const;
  /// Requests of the waiting pods with their namespaces, equal ones once, longest-waiting first, at most `limit`.
  struct WaitingRequest {
    std::string ns;
    Request request;
  };
  enum class Blocked : std::uint8_t { kByAnything, kByQuota };
  std::vector<WaitingRequest> WaitingRequests(std::size_t limit, Blocked blocked = Blocked::kByAnything) const;

 private:
  struct Entry {
    PodRef pod;
    Request request;
    bool waiting = false;
    Nearest nearest;
    Clock::Mono since;       ///< waiting since
    std::uint64_t read = 0;  ///< begun when it was last touched or seen
    Targets targets;
  };
  using Entries = std::list<Entry>;  // least recently touched first
  Entry& Touch(const PodRef& pod) PARTAGE_REQUIRES(mutex_);
  void SetTargets(Entry& entry, Targets targets) PARTAGE_REQUIRES(mutex_);
  void Erase(Entries::iterator entry) PARTAGE_REQUIRES(mutex_);

  mutable Mutex mutex_;
  Entries entries_ PARTAGE_GUARDED_BY(mutex_);
  std::unordered_map<std::string, Entries::iterator> by_uid_ PARTAGE_GUARDED_BY(mutex_);
  std::size_t waiting_ PARTAGE_GUARDED_BY(mutex_) = 0;
  std::uint64_t reads_ PARTAGE_GUARDED_BY(mutex_) = 0;
  const std::shared_ptr<std::atomic<std::size_t>> target_nodes_ = std::make_shared<std::atomic<std::size_t>>(0);  // kept in lists
  std::size_t with_targets_ PARTAGE_GUARDED_BY(mutex_) = 0;
  Targets last_targets_ PARTAGE_GUARDED_BY(mutex_);  // pods refused one after another mostly have the same
};

}  // namespace partage::scheduler
