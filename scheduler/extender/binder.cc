// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/binder.h"

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <thread>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>

#include "base/fault_point.h"
#include "base/log.h"
#include "base/mutex.h"
#include "metrics/catalog.h"
#include "scheduler/extender/bind_attempt.h"

namespace partage::scheduler {
namespace {

using std::chrono::milliseconds;
using Done = std::function<void(Result<>)>;

constexpr milliseconds kFirstPause{50};
constexpr milliseconds kLongestPause{1000};
constexpr milliseconds kLongestPauseInBackground{5000};  // nobody waits for the answer any more
constexpr milliseconds kLongestWish{30000};              // of a server that throttles
constexpr int kMostDoublings = 8;

// Time is read from the injected clock, so a wait for it must end now and then to look. Only while something is due.
constexpr milliseconds kTimerStep{10};

constexpr std::string_view kStopping = "the scheduler is shutting down";

struct Job {
  Job(const BindContext& context, const PodRef& pod, std::string node, Done on_done, Clock::Mono until)
      : attempt(context, pod, std::move(node), until), done(std::move(on_done)), deadline(until) {}

  std::string Name() const { return fmt::format("bind pod {} to node {}", attempt.pod().FullName(), attempt.node()); }

  BindAttempt attempt;  // touched by the thread that drives the job, or under the Binder's mutex while none does
  // The rest under the Binder's mutex.
  Done done;  // empty once taken to be called
  const Clock::Mono deadline;
  bool driven = false;  // some thread is at it; otherwise it lies in a queue
  bool begun = false;
  int tries = 0;
};
using JobPtr = std::shared_ptr<Job>;

// How the writes went, one counter an outcome.
class WriteCounts {
 public:
  explicit WriteCounts(metrics::Registry& registry) : written_(registry.GetCounter(metrics::kBindingWrites, {"written"})) {
    for (const Code code : {Code::kInvalid, Code::kNotFound, Code::kConflict, Code::kUnavailable, Code::kUnknown, Code::kInternal}) {
      failed_.emplace(code, registry.GetCounter(metrics::kBindingWrites, {std::string(ToString(code))}));
    }
  }
  void Count(const Result<>& outcome) const { (outcome ? written_ : failed_.at(outcome.error().code)).Inc(); }

 private:
  metrics::Registry::Counter written_;
  std::map<Code, metrics::Registry::Counter> failed_;
};

}  // namespace

// Workers make API calls and never wait for time: a job that must wait lies in `delayed_`, and one timer thread moves what is due and keeps the deadlines.
// So a slow API server holds up neither another pod's retry nor an answer that is owed.
class Binder::Impl {
 public:
  Impl(Engine& engine, ClusterApi& api, const vendors::Catalog& vendors, const Clock& clock, BinderOptions options,
       metrics::Registry& registry)
      : requests_(vendors),
        writes_(registry),
        context_{engine,
                 api,
                 vendors,
                 requests_,
                 options.fence == nullptr ? open_fence_ : *options.fence,
                 clock,
                 [this](const Result<>& outcome) { writes_.Count(outcome); }},
        options_(options) {
    timer_ = std::jthread([this] { KeepTime(); });
    for (int i = 0; i < std::max(1, options.workers); ++i) workers_.emplace_back([this] { Work(); });
  }

  ~Impl() { Stop(milliseconds(0)); }

  void Bind(const PodRef& pod, std::string node, Done done) {
    if (auto refused = Enqueue(pod, std::move(node), done); !refused) done(Fail(refused.error(), "bind pod " + pod.FullName()));
  }

  void Stop(milliseconds grace) {
    for (const JobPtr& job : RefuseNew()) End(job);
    std::vector<JobPtr> idle;
    std::vector<Owed> owed;
    HaltAfter(grace, idle, owed);
    for (const JobPtr& job : idle) End(job);
    for (const Owed& each : owed) AnswerLate(each);
  }

 private:
  // An answer to be called outside the mutex.
  struct Owed {
    JobPtr job;
    Done done;
    bool nothing_written = false;  // and nothing will be
  };

  Clock::Mono Now() const { return context_.clock.Now(); }

  // `done` is moved from only on success.
  Result<> Enqueue(const PodRef& pod, std::string node, Done& done) {
    const MutexLock lock(mutex_);
    if (stopping_) return Fail(Code::kUnavailable, "{}", kStopping);
    if (live_.contains(pod.uid)) return Fail(Code::kConflict, "an earlier bind of this pod is still in flight");
    if (const std::size_t waiting = ready_.size() + delayed_.size(); waiting >= options_.max_queue) {
      return Fail(Code::kUnavailable, "{} binds are waiting already; try again later", waiting);
    }
    auto job = std::make_shared<Job>(context_, pod, std::move(node), std::move(done), Now() + options_.deadline);
    live_.emplace(pod.uid, job);
    owed_.emplace(job->deadline, job.get());
    ready_.push_back(std::move(job));
    work_ready_.notify_one();
    WakeTimer();
    return {};
  }

  // --- Workers ---

  void Work() {
    while (const JobPtr job = NextReady()) {
      if (auto outcome = job->attempt.Advance()) {
        Conclude(job, *std::move(outcome));
      } else if (!Delay(job)) {
        End(job);
      }
    }
  }

  // nullptr: stop working.
  JobPtr NextReady() {
    const MutexLock lock(mutex_);
    while (!halted_ && ready_.empty()) work_ready_.wait(mutex_);
    if (halted_) return nullptr;
    JobPtr job = std::move(ready_.front());
    ready_.pop_front();
    job->driven = job->begun = true;
    return job;
  }

  // False when it is too late for that.
  bool Delay(const JobPtr& job) {
    const MutexLock lock(mutex_);
    if (halted_) return false;
    job->driven = false;
    delayed_.emplace(Now() + Pause(*job), job);
    WakeTimer();
    return true;
  }

  milliseconds Pause(Job& job) PARTAGE_REQUIRES(mutex_) {
    const milliseconds longest = job.done ? kLongestPause : kLongestPauseInBackground;
    const milliseconds pause = std::min(longest, kFirstPause * (1 << std::min(job.tries++, kMostDoublings)));
    // Half of it by chance: binds that were throttled together should not come back together.
    const milliseconds jittered = pause / 2 + milliseconds(std::uniform_int_distribution<milliseconds::rep>(0, pause.count() / 2)(chance_));
    return std::max(jittered, std::min(kLongestWish, context_.api.retry_after()));
  }

  // The attempt is over and the ledger settled.
  void Conclude(const JobPtr& job, Result<> outcome) {
    FaultPoint("bind.answer.before");
    if (const Done done = Retire(*job)) {
      done(std::move(outcome));
      return FaultPoint("bind.answer.after");
    }
    log::info("{}: settled in the background: {}", job->Name(), outcome ? "done" : outcome.error().message);
  }

  // Ends a job before its time. A share whose fate is unknown stays held.
  void End(const JobPtr& job) {
    if (!job->attempt.exposed()) return Conclude(job, tl::unexpected(job->attempt.GiveUp(kStopping)));
    job->attempt.Abandon();
    AnswerLate({job, Retire(*job)});
  }

  void AnswerLate(const Owed& owed) const {
    if (!owed.done) return;
    if (owed.nothing_written) return owed.done(Fail(Code::kUnavailable, "{}: no time left", owed.job->Name()));
    log::warn("{}: not answered in time by the API server; the share stays held until the outcome is known", owed.job->Name());
    owed.done(Fail(Code::kUnknown, "{}: the API server has not answered within {} ms; the outcome is being looked for", owed.job->Name(),
                   options_.deadline.count()));
  }

  // --- Time ---

  void KeepTime() {
    std::vector<JobPtr> expired;
    std::vector<Owed> owed;
    while (WaitForTime(expired, owed)) {
      for (const JobPtr& job : expired) Conclude(job, tl::unexpected(job->attempt.GiveUp("no time left")));
      for (const Owed& each : owed) AnswerLate(each);
      expired.clear();
      owed.clear();
    }
  }

  // False: stop keeping time. `expired` jobs are the caller's to end, `owed` answers the caller's to give.
  bool WaitForTime(std::vector<JobPtr>& expired, std::vector<Owed>& owed) {
    const MutexLock lock(mutex_);
    timer_idle_ = true;
    while (!halted_ && delayed_.empty() && owed_.empty()) time_changed_.wait(mutex_);
    timer_idle_ = false;
    if (!halted_) time_changed_.wait_for(mutex_, kTimerStep);
    if (halted_) return false;
    MoveDue();
    while (!owed_.empty() && owed_.begin()->first <= Now()) TakeLate(*owed_.begin()->second, expired, owed);
    return true;
  }

  // While there is anything to time, the timer looks by itself.
  void WakeTimer() PARTAGE_REQUIRES(mutex_) {
    if (timer_idle_) time_changed_.notify_one();
  }

  void MoveDue() PARTAGE_REQUIRES(mutex_) {
    const auto due = delayed_.upper_bound(Now());
    for (auto entry = delayed_.begin(); entry != due; entry = delayed_.erase(entry)) {
      ready_.push_back(std::move(entry->second));
      work_ready_.notify_one();
    }
  }

  // A job at rest of which nothing can have been written ends here; any other goes on without the one who asked.
  void TakeLate(Job& late, std::vector<JobPtr>& expired, std::vector<Owed>& owed) PARTAGE_REQUIRES(mutex_) {
    const JobPtr& job = live_.at(late.attempt.pod().uid);
    if (job->driven || job->attempt.exposed()) {
      const bool nothing_written = !job->attempt.exposed();
      owed.push_back({job, TakeDone(*job), nothing_written});
      return;
    }
    std::erase(ready_, job);
    std::erase_if(delayed_, [&](const auto& entry) { return entry.second == job; });
    owed_.erase({job->deadline, job.get()});
    job->driven = true;
    expired.push_back(job);
  }

  // --- The end ---

  // The jobs nobody has looked at yet; the caller's to end.
  std::vector<JobPtr> RefuseNew() {
    const MutexLock lock(mutex_);
    stopping_ = true;
    std::vector<JobPtr> unbegun;
    std::erase_if(ready_, [&](const JobPtr& job) {
      if (job->begun) return false;
      job->driven = true;
      unbegun.push_back(job);
      return true;
    });
    return unbegun;
  }

  // Waits until no answer is owed, for `grace` of real time, then stops the threads. `idle` jobs are the caller's to end, `owed` answers to give.
  void HaltAfter(milliseconds grace, std::vector<JobPtr>& idle, std::vector<Owed>& owed) {
    const auto until = std::chrono::steady_clock::now() + grace;
    const MutexLock lock(mutex_);
    while (!owed_.empty() && answered_.wait_until(mutex_, until) == std::cv_status::no_timeout) continue;
    halted_ = true;
    for (const auto& [uid, job] : live_) {
      if (job->driven) {
        owed.push_back({job, TakeDone(*job)});
      } else {
        job->driven = true;
        idle.push_back(job);
      }
    }
    ready_.clear();
    delayed_.clear();
    work_ready_.notify_all();
    time_changed_.notify_all();
  }

  // --- Bookkeeping ---

  // The job is over; its answer, when it is still owed, is the caller's to give.
  Done Retire(Job& job) {
    const MutexLock lock(mutex_);
    live_.erase(job.attempt.pod().uid);
    return TakeDone(job);
  }

  Done TakeDone(Job& job) PARTAGE_REQUIRES(mutex_) {
    owed_.erase({job.deadline, &job});
    if (owed_.empty()) answered_.notify_all();
    return std::exchange(job.done, nullptr);
  }

  const PodRequests requests_;
  const WriteCounts writes_;
  OpenFence open_fence_;
  const BindContext context_;
  const BinderOptions options_;

  Mutex mutex_;
  CondVar work_ready_, time_changed_, answered_;
  std::unordered_map<std::string, JobPtr> live_ PARTAGE_GUARDED_BY(mutex_);  // by pod UID
  std::deque<JobPtr> ready_ PARTAGE_GUARDED_BY(mutex_);
  std::multimap<Clock::Mono, JobPtr> delayed_ PARTAGE_GUARDED_BY(mutex_);   // by when they are due
  std::set<std::pair<Clock::Mono, Job*>> owed_ PARTAGE_GUARDED_BY(mutex_);  // by deadline: jobs whose `done` is not called yet
  std::minstd_rand chance_ PARTAGE_GUARDED_BY(mutex_){1};
  bool stopping_ PARTAGE_GUARDED_BY(mutex_) = false;  // takes no new work
  bool halted_ PARTAGE_GUARDED_BY(mutex_) = false;    // threads end
  bool timer_idle_ PARTAGE_GUARDED_BY(mutex_) = false;

  // Last, so that they are joined before anything they use goes away.
  std::jthread timer_;
  std::vector<std::jthread> workers_;
};

Binder::Binder(Engine& engine, ClusterApi& api, const vendors::Catalog& vendors, const Clock& clock, BinderOptions options,
               metrics::Registry& registry)
    : impl_(std::make_unique<Impl>(engine, api, vendors, clock, options, registry)) {}
Binder::~Binder() = default;
void Binder::Bind(PodRef pod, std::string node, std::function<void(Result<>)> done) { impl_->Bind(pod, std::move(node), std::move(done)); }
void Binder::Stop(std::chrono::milliseconds grace) { impl_->Stop(grace); }

}  // namespace partage::scheduler
