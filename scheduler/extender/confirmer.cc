// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/confirmer.h"

#include <set>
#include <string>
#include <utility>

#include "base/log.h"
#include "base/mutex.h"
#include "base/ticker.h"

namespace partage::scheduler {

class Confirmer::Impl {
 public:
  Impl(Cluster& cluster, ClusterApi& api) : cluster_(cluster), api_(api) {}

  ~Impl() { Stop(); }

  void Tick() {
    const MutexLock lock(mutex_);
    std::set<std::string> now;
    int left = kMostAsked;
    const auto doubts = cluster_.DoubtfulPods();
    for (const PodRef& pod : doubts.pods) {
      if (left > 0 && before_.contains(pod.uid)) left = Ask(pod, doubts.list) ? left - 1 : 0;
      now.insert(pod.uid);
    }
    before_ = std::move(now);
  }

  void Start() {
    ticker_.Start(kRound, [this] { Tick(); });
  }
  void Stop() { ticker_.Stop(); }

 private:
  // False when the API server cannot tell: then it is no use to ask about others now.
  bool Ask(const PodRef& pod, std::uint64_t list) {
    const auto live = api_.GetPod(pod.ns, pod.name);
    if (!live && live.error().code != Code::kNotFound) return false;
    if (live && PodUid(live->uid) == PodUid(pod.uid) && !live->terminal()) {
      cluster_.ConfirmPod(pod, list);
      return true;
    }
    log::info("pod {} was bound and has ended, and no watch has told: its share is free", pod.FullName());
    cluster_.ForgetPod(pod);
    cluster_.Publish();
    return true;
  }

  Cluster& cluster_;
  ClusterApi& api_;
  Mutex mutex_;
  std::set<std::string> before_ PARTAGE_GUARDED_BY(mutex_);  // in doubt a round ago
  Ticker ticker_;
};

Confirmer::Confirmer(Cluster& cluster, ClusterApi& api) : impl_(std::make_unique<Impl>(cluster, api)) {}
Confirmer::~Confirmer() = default;
void Confirmer::Tick() { impl_->Tick(); }
void Confirmer::Start() { impl_->Start(); }
void Confirmer::Stop() { impl_->Stop(); }

}  // namespace partage::scheduler
