// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace partage::k8s {

/// A coordination.k8s.io/v1 Lease: who holds something, and since when.
struct Lease {
  std::string resource_version;  ///< empty: not stored yet
  std::string holder;            ///< holderIdentity; empty: nobody
  std::chrono::seconds duration{0};
  std::string acquire_time, renew_time;  ///< as written (MicroTime); for people, never compared with a clock
  std::int64_t transitions = 0;          ///< how often it changed hands
  std::string document;                  ///< as read; what it holds besides the above goes back unchanged

  /// Whether both say the same about the holder. A change means that the holder is alive.
  bool SameRecord(const Lease& other) const;
};

/// The document for a POST or PUT of the Lease `ns`/`name`. Never throws.
std::string EncodeLease(const std::string& ns, const std::string& name, const Lease& lease);
/// kInvalid when the text is no Lease.
Result<Lease> DecodeLease(std::string_view json);

/// "2026-11-21T19:34:06.000001Z".
std::string MicroTime(Clock::Wall time);

}  // namespace partage::k8s
