// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "k8s/leases/lease_api.h"

namespace partage::test {

/// A Lease in memory with the API server's semantics, and faults by script. Used by one thread.
class FakeLease final : public k8s::LeaseApi {
 public:
  enum class Fate {
    kServe,
    kLoseRequest,  ///< not executed, and the caller cannot know
    kLoseReply,    ///< executed, and the caller cannot know
  };

  std::string name() const override { return "kube-system/fake"; }
  Result<k8s::Lease> Get() override {
    return Answer([this]() -> Result<k8s::Lease> {
      if (!stored_) return Fail(Code::kNotFound, "404: no lease");
      return *stored_;
    });
  }
  Result<k8s::Lease> Create(const k8s::Lease& lease) override {
    return Answer([&]() -> Result<k8s::Lease> {
      if (stored_) return Fail(Code::kConflict, "409: exists");
      return Set(lease);
    });
  }
  Result<k8s::Lease> Update(const k8s::Lease& lease) override {
    return Answer([&]() -> Result<k8s::Lease> {
      if (!stored_) return Fail(Code::kNotFound, "404: no lease");
      if (lease.resource_version != stored_->resource_version) return Fail(Code::kConflict, "409: modified");
      return Set(lease);
    });
  }

  // ---- The script ----

  k8s::Lease Set(k8s::Lease lease) {
    lease.resource_version = std::to_string(++version_);
    return *(stored_ = std::move(lease));
  }
  /// A change that says nothing of the holder.
  void Touch() { stored_->resource_version = std::to_string(++version_); }
  void Delete() { stored_.reset(); }
  std::deque<Fate> fates;              ///< of the next requests; then all are served
  std::function<void()> before_reply;  ///< after each request was executed

  // ---- What was seen ----

  const std::optional<k8s::Lease>& stored() const { return stored_; }
  int requests() const { return requests_; }

 private:
  Result<k8s::Lease> Answer(const std::function<Result<k8s::Lease>()>& execute) {
    ++requests_;
    Fate fate = Fate::kServe;
    if (!fates.empty()) {
      fate = fates.front();
      fates.pop_front();
    }
    if (fate == Fate::kLoseRequest) return Fail(Code::kUnknown, "reset");
    auto answer = execute();
    if (before_reply) before_reply();
    if (fate == Fate::kLoseReply) return Fail(Code::kUnknown, "reset");
    return answer;
  }

  std::optional<k8s::Lease> stored_;
  std::uint64_t version_ = 0;
  int requests_ = 0;
};

/// The same lease as another owner sees it. `lease` must outlive it.
class FakeLeaseView final : public k8s::LeaseApi {
 public:
  explicit FakeLeaseView(FakeLease& lease) : lease_(lease) {}
  std::string name() const override { return lease_.name(); }
  Result<k8s::Lease> Get() override { return lease_.Get(); }
  Result<k8s::Lease> Create(const k8s::Lease& lease) override { return lease_.Create(lease); }
  Result<k8s::Lease> Update(const k8s::Lease& lease) override { return lease_.Update(lease); }

 private:
  FakeLease& lease_;
};

}  // namespace partage::test
