// SPDX-License-Identifier: Apache-2.0
#include "test/bench/bind_load.h"

#include <chrono>
#include <thread>

#include "test/bench/filter_load.h"
#include "test/bench/give_up.h"
#include "test/bench/http_connection.h"

namespace partage::bench {
namespace {

// Binds in flight. kube-scheduler starts a goroutine a pod and knows no bound; more than this would only wait in our queue.
constexpr int kBinders = 64;

// Conflicts are a few in a hundred: so many failures are a fault.
constexpr int kMostFailures = 10000;

}  // namespace

BindLoad::Outcome BindLoad::Run(int first, int count) {
  {
    const MutexLock lock(mutex_);
    unbound_ = count;
    failed_binds_ = 0;
  }
  std::vector<std::jthread> binders;
  for (int i = 0; i < kBinders; ++i) binders.emplace_back([this] { BindAll(); });
  const auto began = std::chrono::steady_clock::now();
  FilterAll(first, count);
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - began;
  const MutexLock lock(mutex_);
  return {count / time.count(), failed_binds_};
}

void BindLoad::FilterAll(int first, int count) {
  HttpConnection connection(port_);
  for (int fresh = first; const auto serial = NextPod(fresh, first + count);) {
    auto& body = bodies_[static_cast<std::size_t>(*serial) % bodies_.size()];
    std::string node(ChosenNode(connection.Post("/filter", body.For(*serial))));
    const MutexLock lock(mutex_);
    to_bind_.push_back({*serial, std::move(node)});
    work_.notify_one();
  }
}

// Pods that failed come back first, as they do from kube-scheduler's back-off queue. nullopt when all are bound.
std::optional<int> BindLoad::NextPod(int& fresh, int end) {
  const MutexLock lock(mutex_);
  while (fresh == end && unbound_ > 0 && to_retry_.empty()) progress_.wait(mutex_);
  if (!to_retry_.empty()) {
    const int serial = to_retry_.front();
    to_retry_.pop_front();
    return serial;
  }
  return fresh == end ? std::nullopt : std::optional(fresh++);
}

void BindLoad::BindAll() {
  HttpConnection connection(port_);
  while (const auto bind = NextBind()) {
    const PendingPod pod{.serial = bind->serial};
    const auto body = fmt::format(R"({{"PodName":"{}","PodNamespace":"{}","PodUID":"{}","Node":"{}"}})", pod.Name(), PendingPod::kNamespace,
                                  pod.Uid(), bind->node);
    Finish(*bind, connection.Post("/bind", body));
  }
}

// nullopt when all are bound.
std::optional<BindLoad::Bind> BindLoad::NextBind() {
  const MutexLock lock(mutex_);
  while (to_bind_.empty() && unbound_ > 0) work_.wait(mutex_);
  if (to_bind_.empty()) return std::nullopt;
  Bind bind = std::move(to_bind_.front());
  to_bind_.pop_front();
  return bind;
}

void BindLoad::Finish(const Bind& bind, std::string_view reply) {
  const MutexLock lock(mutex_);
  if (reply.starts_with(R"({"Error":""})")) {
    if (--unbound_ > 0) return;
    work_.notify_all();
  } else {
    if (++failed_binds_ > kMostFailures) GiveUp("binds keep failing: {}", reply);
    to_retry_.push_back(bind.serial);
  }
  progress_.notify_one();
}

}  // namespace partage::bench
