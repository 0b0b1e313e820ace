// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/requeuer.h"

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/chrono.h>

#include "base/log.h"
#include "base/mutex.h"
#include "base/ticker.h"
#include "metrics/catalog.h"

namespace partage::scheduler {
namespace {

// A freed node is looked at twice, an interval apart: a filter that judged the node before it was freed may be about to say so when the first look finds nobody
// waiting.
constexpr int kLooks = 2;

std::string TimeText(Clock::Wall time) {
  const auto since_epoch = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch());
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since_epoch);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(static_cast<std::time_t>(seconds.count())),
                     (since_epoch - seconds).count());
}

}  // namespace

class Requeuer::Impl {
 public:
  Impl(Engine& engine, ClusterApi& api, const Clock& clock, Options options, metrics::Registry& registry)
      : engine_(engine),
        api_(api),
        clock_(clock),
        options_(options),
        patches_(registry.GetCounter(metrics::kRequeuePatches)),
        next_round_(clock.Now()) {}

  ~Impl() { Stop(); }

  void Tick() {
    const MutexLock lock(mutex_);
    engine_.cluster().ExpireNominals();
    for (std::string& node : engine_.cluster().TakeFreedNodes()) freed_.insert_or_assign(std::move(node), kLooks);
    if (engine_.cluster().TakeFreedQuota()) quota_looks_ = kLooks;
    if ((freed_.empty() && quota_looks_ == 0) || clock_.Now() < next_round_) return;
    next_round_ = clock_.Now() + options_.min_interval;
    if (const auto node = NodeToPatch()) {
      Patch(*node);
    } else {
      CountLook();
    }
  }

  void Start() {
    ticker_.Start(options_.tick, [this] { Tick(); });
  }
  void Stop() { ticker_.Stop(); }

 private:
  std::optional<std::string> NodeToPatch() const PARTAGE_REQUIRES(mutex_) {
    if (engine_.waiting_count() == 0) return std::nullopt;
    if (auto node = engine_.NodeWorthRetrying(FreedNames())) return node;
    return quota_looks_ > 0 ? engine_.NodeForQuotaWaiter() : std::nullopt;
  }

  std::vector<std::string> FreedNames() const PARTAGE_REQUIRES(mutex_) {
    std::vector<std::string> names;
    names.reserve(freed_.size());
    for (const auto& [name, looks] : freed_) names.push_back(name);
    return names;
  }

  void CountLook() PARTAGE_REQUIRES(mutex_) {
    quota_looks_ = std::max(0, quota_looks_ - 1);
    for (auto node = freed_.begin(); node != freed_.end();) node = --node->second == 0 ? freed_.erase(node) : std::next(node);
  }

  // One patch of any node wakes every pod an extender refused, so it answers for all freed nodes.
  void Patch(const std::string& node) PARTAGE_REQUIRES(mutex_) {
    const auto patched = api_.AnnotateNode(node, std::string(kRequeueAnnotation), TimeText(clock_.WallNow()));
    if (patched) {
      patches_.Inc();
      freed_.clear();
      quota_looks_ = 0;
      complaint_.clear();
      return;
    }
    // Once, not at every try.
    if (std::exchange(complaint_, patched.error().message) != complaint_) log::warn("waiting pods are not retried yet: {}", complaint_);
    if (patched.error().code == Code::kNotFound) freed_.erase(node);
  }

  Engine& engine_;
  ClusterApi& api_;
  const Clock& clock_;
  const Options options_;
  const metrics::Registry::Counter patches_;

  Mutex mutex_;
  std::map<std::string, int> freed_ PARTAGE_GUARDED_BY(mutex_);  // node → looks left
  int quota_looks_ PARTAGE_GUARDED_BY(mutex_) = 0;               // likewise, of quotas that leave more room
  std::string complaint_ PARTAGE_GUARDED_BY(mutex_);             // the last failure told
  Clock::Mono next_round_ PARTAGE_GUARDED_BY(mutex_);
  Ticker ticker_;
};

Requeuer::Requeuer(Engine& engine, ClusterApi& api, const Clock& clock, Options options, metrics::Registry& registry)
    : impl_(std::make_unique<Impl>(engine, api, clock, options, registry)) {}
Requeuer::~Requeuer() = default;
void Requeuer::Tick() { impl_->Tick(); }
void Requeuer::Start() { impl_->Start(); }
void Requeuer::Stop() { impl_->Stop(); }

}  // namespace partage::scheduler
