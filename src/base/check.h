// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace partage::internal {
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition, const char* why);
}

/// Aborts with a message when a rule of our own code is broken. Never for input: input gets an Error.
#define PARTAGE_CHECK(condition, why) \
  (static_cast<bool>(condition) ? void(0) : ::partage::internal::CheckFailed(__FILE__, __LINE__, #condition, why))

/// The same, in builds without NDEBUG only: for checks that cost time on a hot path.
#ifdef NDEBUG
#define PARTAGE_DCHECK(condition, why) void(0)
#else
#define PARTAGE_DCHECK(condition, why) PARTAGE_CHECK(condition, why)
#endif
