// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "base/clock.h"
#include "base/result.h"

namespace partage::scheduler {

/// Keeps a replica from writing what another may write. Everything that is decided by the ledger and then written to the cluster asks it twice: for the term
/// when it decides, and for a permit right before it sends. In between the lease may have been lost, even won again: then the decision knows nothing of what
/// somebody else has given away meanwhile, and must not be written.
///
///   auto term = fence.CurrentTerm();            // others may write: not now
///   …decide by the ledger…
///   auto permit = fence.BeginWrite(*term);      // the term is over: decide anew
///   client.PostBy(permit->send_by(), …);        // nothing is sent after it
///
/// Thread-safe.
class WriteFence {
 public:
  using Term = std::uint64_t;

  /// That a write is, or may yet be, executed: until it is destroyed the lease is not handed to another, but may run out. Movable; used by one thread at a
  /// time.
  class Permit {
   public:
    Permit(Clock::Mono send_by, std::function<void()> end) : send_by_(send_by), end_(std::move(end)) {}
    Permit(Permit&& other) noexcept : send_by_(other.send_by_), end_(std::exchange(other.end_, nullptr)) {}
    Permit& operator=(Permit&& other) noexcept {
      std::swap(send_by_, other.send_by_);
      std::swap(end_, other.end_);
      return *this;
    }
    ~Permit() {
      if (end_) end_();
    }

    Clock::Mono send_by() const { return send_by_; }
    /// The outcome will never be known to this process: the lease must run out.
    void Keep() { end_ = nullptr; }

   private:
    Clock::Mono send_by_;
    std::function<void()> end_;
  };

  virtual ~WriteFence() = default;
  /// The term that what is decided now belongs to. kUnavailable, with the reason, while another replica may write.
  virtual Result<Term> CurrentTerm() const = 0;
  /// kUnavailable when `term` is over, or so nearly that the write might end after it.
  virtual Result<Permit> BeginWrite(Term term) = 0;
};

/// For a replica that is alone: always open. Thread-safe.
class OpenFence final : public WriteFence {
 public:
  Result<Term> CurrentTerm() const override { return Term{1}; }
  Result<Permit> BeginWrite(Term) override { return Permit(Clock::Mono::max(), nullptr); }
};

}  // namespace partage::scheduler
