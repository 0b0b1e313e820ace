// SPDX-License-Identifier: Apache-2.0
// Who holds what: as the pods' annotations say, and as the scheduler does.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "test/support/fake_api_server.h"

namespace partage::test {

/// "pod uid device" → MiB.
using Held = std::map<std::string, std::int64_t>;

/// What the annotations of bound, unfinished pods give them; with a namespace or a PriorityClass, only of its pods.
Held Truth(const FakeApiServer& api, const std::string& ns = {}, const std::string& priority_class = {});

/// What the scheduler's /debug/state says.
struct LedgerView {
  Held bound;
  bool busy = false;         ///< somebody is at a bind
  std::size_t promised = 0;  ///< nominal shares and claims: they end by themselves
  std::int64_t capped = 0;   ///< MiB that pods of kSoakCapped hold or are promised
};
/// nullopt when it cannot be read.
std::optional<std::string> LedgerText(std::uint16_t metrics_port);
std::optional<LedgerView> Ledger(std::uint16_t metrics_port);

/// The value of the one line of /metrics that begins with `name` and contains `label`; -1: there is none.
std::int64_t Metric(std::uint16_t metrics_port, const std::string& name, const std::string& label = {});

/// The first difference; empty: none.
std::string Difference(const Held& truth, const Held& ledger);
/// A device that gives more than it has; empty: none does.
std::string Doubled(const Held& truth);

}  // namespace partage::test
