// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "scheduler/extender/cluster_api.h"

namespace partage::test {

/// What happens to one write of a Binding, or one read of a pod.
enum class Fate {
  kServe,        ///< as the API server would
  kThrottle,     ///< 429: not executed
  kForbid,       ///< 403: not executed
  kLoseRequest,  ///< not executed, and the caller cannot know
  kLoseReply,    ///< executed, and the caller cannot know
  kComesLate,    ///< like kLoseRequest, but executed after all when the next write arrives
};

/// An API server of pods in memory, with the semantics of pods/binding, whose faults follow a script. Thread-safe.
class ScriptedApi final : public scheduler::ClusterApi {
 public:
  explicit ScriptedApi(const Clock& clock) : clock_(clock) {}

  Result<> WriteBinding(const k8s::Binding& binding) override {
    WaitWhileHeld();
    const MutexLock lock(mutex_);
    writes_.push_back(binding);
    write_times_.push_back(clock_.Now());
    changed_.notify_all();
    for (const k8s::Binding& late : std::exchange(late_, {})) (void)Serve(late);
    switch (Next(write_fates_, every_write_)) {
      case Fate::kServe: return Serve(binding);
      case Fate::kThrottle: return Fail(Code::kUnavailable, "429 too many requests");
      case Fate::kForbid: return Fail(Code::kInvalid, "403 forbidden");
      case Fate::kLoseReply: (void)Serve(binding); break;
      case Fate::kComesLate: late_.push_back(binding); break;
      case Fate::kLoseRequest: break;
    }
    return Fail(Code::kUnknown, "connection reset");
  }

  Result<k8s::Pod> GetPod(const std::string& ns, const std::string& name) override {
    const MutexLock lock(mutex_);
    ++reads_;
    if (Next(read_fates_, every_read_) != Fate::kServe) return Fail(Code::kUnknown, "connection reset");
    const auto pod = pods_.find(ns + "/" + name);
    if (pod == pods_.end()) return Fail(Code::kNotFound, "pods \"{}\" not found", name);
    return pod->second;
  }

  /// Pods are not gone by it, as with a grace period: see Remove.
  Result<Evicted> Evict(const k8s::Eviction& eviction) override {
    const MutexLock lock(mutex_);
    evictions_.push_back(eviction);
    const std::string full_name = eviction.ns + "/" + eviction.name;
    const auto found = pods_.find(full_name);
    if (found == pods_.end() || scheduler::PodUid(found->second.uid) != scheduler::PodUid(eviction.uid)) return Evicted::kGone;
    if (auto answer = eviction_answer_ ? eviction_answer_(eviction) : std::nullopt) return *answer;
    if (!eviction.dry_run) found->second.deleting = true;
    return Evicted::kYes;
  }

  Result<> WriteEvent(const k8s::Event& event) override {
    const MutexLock lock(mutex_);
    if (event_error_) return Fail(*event_error_);
    events_.push_back(event);
    return {};
  }

  Result<> Nominate(const k8s::Nomination& nomination) override {
    const MutexLock lock(mutex_);
    if (nominate_error_) return Fail(*nominate_error_);
    const auto found = pods_.find(nomination.ns + "/" + nomination.name);
    if (found == pods_.end()) return Fail(Code::kNotFound, "pods \"{}\" not found", nomination.name);
    if (found->second.uid != nomination.uid) return Fail(Code::kConflict, "precondition failed: UID");
    found->second.nominated_node = nomination.node;
    return {};
  }

  Result<> AnnotateNode(const std::string& node, const std::string& key, const std::string& value) override {
    const MutexLock lock(mutex_);
    if (annotate_error_) return Fail(*annotate_error_);
    annotations_.push_back({node, key, value});
    return {};
  }

  std::chrono::milliseconds retry_after() const override {
    const MutexLock lock(mutex_);
    ++pauses_;
    changed_.notify_all();
    return retry_after_;
  }

  // ---- The script ----

  void Put(k8s::Pod pod) {
    const MutexLock lock(mutex_);
    pods_[pod.FullName()] = std::move(pod);
  }
  void Remove(const std::string& full_name) {
    const MutexLock lock(mutex_);
    pods_.erase(full_name);
  }
  /// Fates of the next writes, in order; after them, every write meets `every`.
  void Writes(std::deque<Fate> fates, Fate every = Fate::kServe) {
    const MutexLock lock(mutex_);
    write_fates_ = std::move(fates);
    every_write_ = [every] { return every; };
  }
  void Reads(std::deque<Fate> fates, Fate every = Fate::kServe) {
    const MutexLock lock(mutex_);
    read_fates_ = std::move(fates);
    every_read_ = [every] { return every; };
  }
  /// Each call's fate is asked for (under a lock).
  void Fates(std::function<Fate()> write, std::function<Fate()> read) {
    const MutexLock lock(mutex_);
    every_write_ = std::move(write);
    every_read_ = std::move(read);
  }
  /// Asked about each eviction (under a lock); nullopt: served.
  void Evictions(std::function<std::optional<Result<Evicted>>(const k8s::Eviction&)> answer) {
    const MutexLock lock(mutex_);
    eviction_answer_ = std::move(answer);
  }
  void FailEvents(std::optional<Error> error) {
    const MutexLock lock(mutex_);
    event_error_ = std::move(error);
  }
  void FailAnnotations(std::optional<Error> error) {
    const MutexLock lock(mutex_);
    annotate_error_ = std::move(error);
  }
  void FailNominations(std::optional<Error> error) {
    const MutexLock lock(mutex_);
    nominate_error_ = std::move(error);
  }
  void AskToWait(std::chrono::milliseconds retry_after) {
    const MutexLock lock(mutex_);
    retry_after_ = retry_after;
  }
  /// Writes hang until they are let go.
  void Hold() {
    const MutexLock lock(mutex_);
    held_ = true;
  }
  void LetGo() {
    const MutexLock lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }
  void AwaitHeldWrite() {
    const MutexLock lock(mutex_);
    while (hanging_ == 0) changed_.wait(mutex_);
  }

  void AwaitWrites(std::size_t count) {
    const MutexLock lock(mutex_);
    while (writes_.size() < count) changed_.wait(mutex_);
  }
  /// Until callers have gone to wait before another try (and asked for how long) this often.
  void AwaitPauses(std::size_t count) {
    const MutexLock lock(mutex_);
    while (pauses_ < count) changed_.wait(mutex_);
  }

  // ---- What was seen ----

  struct Annotation {
    std::string node, key, value;
  };
  std::size_t reads() const {
    const MutexLock lock(mutex_);
    return reads_;
  }
  std::vector<k8s::Binding> writes() const {
    const MutexLock lock(mutex_);
    return writes_;
  }
  std::vector<k8s::Event> events() const {
    const MutexLock lock(mutex_);
    return events_;
  }
  /// Names of the pods whose eviction was asked for, dry runs or others, in order.
  std::vector<std::string> evictions(bool dry_run) const {
    const MutexLock lock(mutex_);
    std::vector<std::string> names;
    for (const auto& eviction : evictions_) {
      if (eviction.dry_run == dry_run) names.push_back(eviction.name);
    }
    return names;
  }
  std::vector<Clock::Mono> write_times() const {
    const MutexLock lock(mutex_);
    return write_times_;
  }
  std::vector<Annotation> annotations() const {
    const MutexLock lock(mutex_);
    return annotations_;
  }
  std::vector<k8s::Pod> pods() const {
    const MutexLock lock(mutex_);
    std::vector<k8s::Pod> pods;
    for (const auto& [name, pod] : pods_) pods.push_back(pod);
    return pods;
  }
  k8s::Pod pod(const std::string& full_name) const {
    const MutexLock lock(mutex_);
    return pods_.at(full_name);
  }

 private:
  static Fate Next(std::deque<Fate>& fates, const std::function<Fate()>& every) {
    if (fates.empty()) return every();
    const Fate fate = fates.front();
    fates.pop_front();
    return fate;
  }

  Result<> Serve(const k8s::Binding& binding) PARTAGE_REQUIRES(mutex_) {
    const auto found = pods_.find(binding.ns + "/" + binding.name);
    if (found == pods_.end()) return Fail(Code::kNotFound, "pods \"{}\" not found", binding.name);
    k8s::Pod& pod = found->second;
    if (pod.uid != binding.uid) return Fail(Code::kConflict, "precondition failed: UID");
    if (pod.deleting) return Fail(Code::kConflict, "pod {} is being deleted", pod.name);
    if (!pod.node_name.empty()) return Fail(Code::kConflict, "pod {} is already assigned to node {}", pod.name, pod.node_name);
    pod.node_name = binding.node;
    for (const auto& [key, value] : binding.annotations) pod.annotations[key] = value;
    return {};
  }

  void WaitWhileHeld() {
    const MutexLock lock(mutex_);
    ++hanging_;
    changed_.notify_all();
    while (held_) changed_.wait(mutex_);
    --hanging_;
  }

  const Clock& clock_;
  mutable Mutex mutex_;
  mutable CondVar changed_;
  std::map<std::string, k8s::Pod> pods_ PARTAGE_GUARDED_BY(mutex_);
  std::deque<Fate> write_fates_ PARTAGE_GUARDED_BY(mutex_), read_fates_ PARTAGE_GUARDED_BY(mutex_);
  std::function<Fate()> every_write_ PARTAGE_GUARDED_BY(mutex_) = [] { return Fate::kServe; };
  std::function<Fate()> every_read_ PARTAGE_GUARDED_BY(mutex_) = [] { return Fate::kServe; };
  std::optional<Error> annotate_error_ PARTAGE_GUARDED_BY(mutex_);
  std::optional<Error> nominate_error_ PARTAGE_GUARDED_BY(mutex_);
  std::function<std::optional<Result<Evicted>>(const k8s::Eviction&)> eviction_answer_ PARTAGE_GUARDED_BY(mutex_);
  std::vector<k8s::Eviction> evictions_ PARTAGE_GUARDED_BY(mutex_);
  std::optional<Error> event_error_ PARTAGE_GUARDED_BY(mutex_);
  std::vector<k8s::Event> events_ PARTAGE_GUARDED_BY(mutex_);
  std::vector<k8s::Binding> late_ PARTAGE_GUARDED_BY(mutex_);
  std::vector<k8s::Binding> writes_ PARTAGE_GUARDED_BY(mutex_);
  std::vector<Clock::Mono> write_times_ PARTAGE_GUARDED_BY(mutex_);
  std::vector<Annotation> annotations_ PARTAGE_GUARDED_BY(mutex_);
  std::size_t reads_ PARTAGE_GUARDED_BY(mutex_) = 0;
  std::size_t hanging_ PARTAGE_GUARDED_BY(mutex_) = 0;
  bool held_ PARTAGE_GUARDED_BY(mutex_) = false;
  mutable std::size_t pauses_ PARTAGE_GUARDED_BY(mutex_) = 0;
  std::chrono::milliseconds retry_after_ PARTAGE_GUARDED_BY(mutex_){0};
};

}  // namespace partage::test
