// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/event_writer.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <list>
#include <unordered_map>
#include <utility>

#include <fmt/chrono.h>

#include "base/mutex.h"
#include "base/ticker.h"
#include "metrics/catalog.h"

namespace partage::scheduler {
namespace {

constexpr std::string_view kComponent = "partage-scheduler";
constexpr std::size_t kLongestMessage = 1'024;
constexpr std::size_t kLongestPodName = 230;  // an Event's name is at most 253 long

std::string EventTime(Clock::Wall time) { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(Clock::Wall::clock::to_time_t(time))); }

/// So many at once, so many a second after that.
class Allowance {
 public:
  Allowance(double burst, double per_second, Clock::Mono now) : burst_(burst), per_second_(per_second), left_(burst), at_(now) {}
  bool Take(Clock::Mono now) {
    left_ = std::min(burst_, left_ + per_second_ * std::chrono::duration<double>(now - at_).count());
    at_ = now;
    if (left_ < 1) return false;
    left_ -= 1;
    return true;
  }

 private:
  double burst_, per_second_, left_;
  Clock::Mono at_;
};

/// An event that was written, or is about to be.
struct Known {
  std::string key;
  k8s::Event event;
  Clock::Mono last_posted, last_written;
  int written = 0;  ///< the count that the API server has
  bool queued = false;
};

}  // namespace

class EventWriter::Impl {
 public:
  Impl(ClusterApi& api, const Clock& clock, Options options, metrics::Registry& registry)
      : api_(api),
        clock_(clock),
        options_(std::move(options)),
        fence_(options_.fence != nullptr ? *options_.fence : open_),
        written_(registry.GetCounter(metrics::kEvents, {"written"})),
        dropped_(registry.GetCounter(metrics::kEvents, {"dropped"})),
        failed_(registry.GetCounter(metrics::kEvents, {"failed"})),
        overall_(options_.burst, options_.per_second, clock.Now()) {}

  ~Impl() { Stop(); }

  void Post(PodEvent event) {
    const MutexLock lock(mutex_);
    const auto now = clock_.Now();
    const std::string key = fmt::format("{}\n{}\n{}", event.pod.uid, event.reason, event.note);
    auto known = by_key_.find(key);
    if (known != by_key_.end() && now - known->second->last_posted >= options_.series) {
      Forget(known->second);
      known = by_key_.end();
    }
    if (known == by_key_.end() && !AllowanceOf(event.pod.uid, now).Take(now)) return dropped_.Inc();
    Known& noted = known == by_key_.end() ? Note(key, event) : *known->second;
    ++noted.event.count;
    noted.event.last_time = EventTime(clock_.WallNow());
    noted.last_posted = now;
    Enqueue(noted);
  }

  void Tick() {
    const auto term = fence_.CurrentTerm();
    if (!term) return DropAll();
    while (const auto next = Next()) {
      const auto permit = fence_.BeginWrite(*term);
      if (!permit) return DropAll();
      const auto written = api_.WriteEvent(next->event);
      (written ? written_ : failed_).Inc();
      if (!written) NoteFailure(*next);
    }
  }

  void Start() {
    ticker_.Start(options_.tick, [this] { Tick(); });
  }
  void Stop() { ticker_.Stop(); }

 private:
  using Entries = std::list<Known>;  // oldest first

  Allowance& AllowanceOf(const std::string& uid, Clock::Mono now) PARTAGE_REQUIRES(mutex_) {
    if (pods_.size() >= options_.remembered && !pods_.contains(uid)) pods_.clear();
    return pods_.try_emplace(uid, options_.pod_burst, options_.pod_per_second, now).first->second;
  }

  Known& Note(const std::string& key, PodEvent& event) PARTAGE_REQUIRES(mutex_) {
    if (entries_.size() >= options_.remembered) Forget(entries_.begin());
    const std::string time = EventTime(clock_.WallNow());
    const auto digest = std::hash<std::string>{}(key + time);
    entries_.push_back({.key = key,
                        .event = {.ns = event.pod.ns,
                                  .name = fmt::format("{}.{:016x}", event.pod.name.substr(0, kLongestPodName), digest),
                                  .pod_name = event.pod.name,
                                  .pod_uid = event.pod.uid,
                                  .type = event.warning ? "Warning" : "Normal",
                                  .reason = event.reason,
                                  .action = event.action,
                                  .message = event.note.substr(0, kLongestMessage),
                                  .component = std::string(kComponent),
                                  .instance = options_.instance,
                                  .first_time = time,
                                  .last_time = time,
                                  .count = 0}});
    by_key_.emplace(key, std::prev(entries_.end()));
    return entries_.back();
  }

  void Forget(Entries::iterator entry) PARTAGE_REQUIRES(mutex_) {
    if (entry->queued) {
      std::erase(queue_, &*entry);
      dropped_.Inc();
    }
    by_key_.erase(entry->key);
    entries_.erase(entry);
  }

  void Enqueue(Known& known) PARTAGE_REQUIRES(mutex_) {
    if (known.queued) return;
    if (queue_.size() >= options_.queue) return dropped_.Inc();
    known.queued = true;
    queue_.push_back(&known);
  }

  // The next event whose time has come, as it is now. Repeated ones that must wait stay queued.
  struct Due {
    std::string key;
    k8s::Event event;
  };
  std::optional<Due> Next() PARTAGE_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    const auto now = clock_.Now();
    const auto due = std::find_if(queue_.begin(), queue_.end(),
                                  [&](const Known* known) { return known->written == 0 || now - known->last_written >= options_.repeat; });
    if (due == queue_.end() || !overall_.Take(now)) return std::nullopt;
    Known& known = **due;
    queue_.erase(due);
    known.queued = false;
    known.last_written = now;
    k8s::Event event = known.event;
    event.created = known.written > 0;
    known.written = event.count;
    return Due{known.key, std::move(event)};
  }

  // Not tried again by itself; but the next like it must not be added to one that does not exist, or no longer does.
  void NoteFailure(const Due& failed) PARTAGE_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    if (const auto known = by_key_.find(failed.key); known != by_key_.end()) known->second->written = 0;
  }

  void DropAll() PARTAGE_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    dropped_.Inc(static_cast<double>(queue_.size()));
    queue_.clear();
    by_key_.clear();
    entries_.clear();
  }

  ClusterApi& api_;
  const Clock& clock_;
  const Options options_;
  OpenFence open_;
  WriteFence& fence_;
  const metrics::Registry::Counter written_, dropped_, failed_;

  Mutex mutex_;
  Entries entries_ PARTAGE_GUARDED_BY(mutex_);
  std::unordered_map<std::string, Entries::iterator> by_key_ PARTAGE_GUARDED_BY(mutex_);
  std::deque<Known*> queue_ PARTAGE_GUARDED_BY(mutex_);
  std::unordered_map<std::string, Allowance> pods_ PARTAGE_GUARDED_BY(mutex_);  // by UID
  Allowance overall_ PARTAGE_GUARDED_BY(mutex_);
  Ticker ticker_;
};

EventWriter::EventWriter(ClusterApi& api, const Clock& clock, Options options, metrics::Registry& registry)
    : impl_(std::make_unique<Impl>(api, clock, std::move(options), registry)) {}
EventWriter::~EventWriter() = default;
void EventWriter::Post(PodEvent event) { impl_->Post(std::move(event)); }
void EventWriter::Tick() { impl_->Tick(); }
void EventWriter::Start() { impl_->Start(); }
void EventWriter::Stop() { impl_->Stop(); }

}  // namespace partage::scheduler
