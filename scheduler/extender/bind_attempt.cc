// SPDX-License-Identifier: Apache-2.0
#include "scheduler/extender/bind_attempt.h"

#include <utility>

#include <fmt/format.h>

#include "base/fault_point.h"
#include "device/allocation_codec.h"
#include "scheduler/extender/binding_document.h"

namespace partage::scheduler {
namespace {

// An API server ends every request after its --request-timeout, 60 s by default. Twice that, a write whose reply was lost will not be executed any more.
constexpr std::chrono::seconds kWriteLifetime{120};

bool MayPass(Code code) { return code == Code::kUnavailable || code == Code::kUnknown; }

std::string_view AllocationText(const k8s::StringMap& annotations) {
  const auto found = annotations.find(device::kAllocationAnnotation);
  return found == annotations.end() ? std::string_view{} : std::string_view(found->second);
}

// Why a live pod cannot be bound at all; nullopt when it can.
std::optional<Error> Obstacle(const k8s::Pod& live, const PodRef& wanted) {
  if (live.uid != wanted.uid) return Error{Code::kNotFound, fmt::format("the pod is gone: its name now belongs to uid {}", live.uid)};
  if (!live.node_name.empty()) return Error{Code::kConflict, fmt::format("the pod is already bound to node {}", live.node_name)};
  if (live.deleting) return Error{Code::kConflict, "the pod is being deleted"};
  return std::nullopt;
}

}  // namespace

BindAttempt::BindAttempt(const BindContext& context, PodRef pod, std::string node, Clock::Mono deadline)
    : context_(context), pod_(std::move(pod)), node_(std::move(node)), deadline_(deadline) {}

std::optional<Result<>> BindAttempt::Advance() {
  if (Expired() && !unresolved_) return tl::unexpected(GiveUp("no time left"));
  switch (stage_) {
    case Stage::kReserve: return ReserveShare();
    case Stage::kWrite: return Write();
    case Stage::kLook: return Look();
  }
  return std::nullopt;
}

Error BindAttempt::GiveUp(std::string_view why) {
  reservation_.reset();
  exposed_ = false;
  const std::string message = last_error_ ? fmt::format("{}: {}", why, last_error_->message) : std::string(why);
  return Error{Code::kUnavailable, message}.In(fmt::format("bind pod {} to node {}", pod_.FullName(), node_));
}

void BindAttempt::Abandon() {
  if (reservation_) reservation_->LeaveUnresolved();
  if (permit_) permit_->Keep();
}

std::optional<Result<>> BindAttempt::ReserveShare() {
  const auto term = context_.fence.CurrentTerm();
  if (!term) return GivenBack(term.error());
  term_ = *term;
  FaultPoint("bind.reserve.before");
  auto reservation = context_.engine.Reserve(pod_, node_);
  // Not found: no filter of ours has seen the pod (we were restarted since, or it wants nothing of ours), or the node is gone. The pod itself tells which.
  if (!reservation && reservation.error().code == Code::kNotFound) return ReserveAfterLook();
  return TakeReservation(std::move(reservation));
}

std::optional<Result<>> BindAttempt::ReserveAfterLook() {
  const auto live = context_.api.GetPod(pod_.ns, pod_.name);
  if (!live && MayPass(live.error().code)) return WaitAfter(live.error(), Stage::kReserve);
  if (!live) return GivenBack(live.error());
  if (const auto obstacle = Obstacle(*live, pod_)) return GivenBack(*obstacle);
  auto request = context_.requests.Of(*live);
  if (!request) return GivenBack(request.error());
  if (*request) return TakeReservation(context_.engine.Reserve(pod_, node_, *std::move(request)));
  binding_ = MakePlainBinding(pod_, node_);
  return Write();
}

std::optional<Result<>> BindAttempt::TakeReservation(Result<Reservation> reservation) {
  if (!reservation) return GivenBack(reservation.error());
  reservation_.emplace(*std::move(reservation));
  FaultPoint("bind.reserve.after");
  auto binding = MakeBinding(*reservation_, context_.vendors, context_.clock.WallNow());
  if (!binding) return GivenBack(binding.error());
  binding_ = *std::move(binding);
  return Write();
}

std::optional<Result<>> BindAttempt::Write() {
  // Exposed first, then the look at the clock: whoever finds us late and not exposed may say that nothing has been written.
  exposed_ = true;
  if (Expired() && !unresolved_) return tl::unexpected(GiveUp("no time left"));
  auto permit = context_.fence.BeginWrite(term_);
  if (!permit) return Fenced(permit.error());
  binding_.send_by = permit->send_by();
  FaultPoint("bind.write.before");
  const auto written = context_.api.WriteBinding(binding_);
  FaultPoint("bind.write.after");
  context_.on_write(written);
  if (!written && written.error().code != Code::kUnknown) exposed_ = unresolved_;
  if (!written && written.error().code == Code::kUnknown) {
    permit_ = std::move(*permit);
    lost_at_ = context_.clock.Now();
  }
  if (written) return Bound();
  switch (written.error().code) {
    case Code::kUnavailable: return WaitAfter(written.error(), Stage::kWrite);
    case Code::kUnknown: unresolved_ = true; return WaitAfter(written.error(), Stage::kLook);
    case Code::kConflict: refusal_ = written.error(); return Look();
    case Code::kNotFound: return GivenBack(written.error());
    default: break;
  }
  // Such a refusal is about this write alone. It says nothing of an earlier one whose reply was lost.
  if (unresolved_) return WaitAfter(written.error(), Stage::kLook);
  return GivenBack(written.error());
}

// Another may write now, or has written since the share was taken. What an earlier write of ours may yet do is looked for, and written again only if we would
// decide the same in our new term.
std::optional<Result<>> BindAttempt::Fenced(const Error& error) {
  exposed_ = unresolved_;
  const bool just_seen_unbound = stage_ == Stage::kLook;
  if (unresolved_ && just_seen_unbound && DecidedAgain()) return Write();
  if (unresolved_ && !(just_seen_unbound && context_.clock.Now() >= lost_at_ + kWriteLifetime)) return WaitAfter(error, Stage::kLook);
  return GivenBack(error);
}

// The share was held all along, and who is active has read what others gave away meanwhile.
bool BindAttempt::DecidedAgain() {
  const auto term = context_.fence.CurrentTerm();
  if (!term || *term == term_ || (reservation_ && !context_.engine.cluster().StillFits(pod_))) return false;
  term_ = *term;
  return true;
}

std::optional<Result<>> BindAttempt::Look() {
  if (SettledByWatch()) return GivenBack({Code::kUnknown, "a watch has settled it"});
  const auto live = context_.api.GetPod(pod_.ns, pod_.name);
  if (live) return Judge(*live);
  if (live.error().code == Code::kNotFound) return GivenBack(live.error());
  return WaitAfter(live.error(), Stage::kLook);
}

std::optional<Result<>> BindAttempt::Judge(const k8s::Pod& live) {
  if (IsOurs(live)) return Bound();
  if (const auto obstacle = Obstacle(live, pod_)) return GivenBack(refusal_.value_or(*obstacle));
  if (refusal_ && !unresolved_) return GivenBack(*refusal_);
  // Free to be bound, so our lost write has not been executed; not yet, at least. Written again, it either succeeds or finds the first one there.
  if (refusal_) return WaitAfter(*std::exchange(refusal_, std::nullopt), Stage::kWrite);
  return Write();
}

std::optional<Result<>> BindAttempt::WaitAfter(const Error& error, Stage next) {
  last_error_ = error;
  stage_ = next;
  if (Expired() && !unresolved_) return tl::unexpected(GiveUp("no time left"));
  return std::nullopt;
}

Result<> BindAttempt::Bound() {
  FaultPoint("bind.commit.before");
  if (reservation_) reservation_->Commit();
  reservation_.reset();
  context_.engine.Forget(pod_.uid);
  FaultPoint("bind.commit.after");
  return {};
}

Result<> BindAttempt::GivenBack(const Error& error) {
  FaultPoint("bind.give-back.before");
  reservation_.reset();
  FaultPoint("bind.give-back.after");
  return Fail(error, fmt::format("bind pod {} to node {}", pod_.FullName(), node_));
}

bool BindAttempt::IsOurs(const k8s::Pod& live) const {
  return live.uid == pod_.uid && live.node_name == node_ && AllocationText(live.annotations) == AllocationText(binding_.annotations);
}

// Bound or gone, the ledger knows. Asked only when nobody waits to hear which.
bool BindAttempt::SettledByWatch() const { return Expired() && reservation_ && !context_.engine.cluster().InFlight(pod_); }

bool BindAttempt::Expired() const { return context_.clock.Now() >= deadline_; }

}  // namespace partage::scheduler
