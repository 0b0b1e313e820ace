// SPDX-License-Identifier: Apache-2.0
// Messages of the library: one line to standard error in one write, nothing else. No allocation, no stdio, errno untouched. Thread-safe.
#pragma once

#include <cstdint>

namespace partage::intercept {

/// By LIBCUDA_LOG_LEVEL as in HAMi: 0 and 1 errors, 2 (the default) warnings too, 3 what happens once, 4 everything.
enum class Level : int { kError = 1, kWarning = 2, kInfo = 3, kDebug = 4 };

/// 0..4. Called while the process becomes active; before, the default holds.
void SetLogLevel(int level);

/// A piece of a line: text or a number.
struct Piece {
  constexpr Piece(const char* value) : text(value) {}                   // NOLINT(google-explicit-constructor)
  constexpr Piece(std::uint64_t value) : number(value) {}               // NOLINT(google-explicit-constructor)
  constexpr Piece(int value) : number(static_cast<unsigned>(value)) {}  // NOLINT(google-explicit-constructor): never negative here
  const char* text = nullptr;
  std::uint64_t number = 0;
};

/// Writes "[partage] " and the pieces. What does not fit a line of 400 bytes is cut.
void LogPieces(Level level, const Piece* pieces, unsigned count);

template <class... P>
void Log(Level level, P... pieces) {
  const Piece all[] = {Piece(pieces)...};
  LogPieces(level, all, sizeof...(pieces));
}

}  // namespace partage::intercept
