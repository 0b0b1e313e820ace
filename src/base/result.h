// SPDX-License-Identifier: Apache-2.0
// Result<T>: a value or an Error. The only file that names the library behind it, so that std::expected is a one-line change.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <fmt/core.h>
#include <tl/expected.hpp>

namespace partage {

/// What the caller can do about a failure; nothing finer.
enum class Code {
  kInvalid,      ///< the input is wrong and stays wrong: tell whoever wrote it, do not retry
  kNotFound,     ///< the named thing does not exist (any more)
  kConflict,     ///< somebody else was first: re-read and decide again
  kUnavailable,  ///< the other side certainly did nothing (refused, throttled): retry later
  kUnknown,      ///< the outcome is unknown (lost reply, time-out, 5xx after sending): look before acting
  kInternal,     ///< a fault of ours
};

/// Lower-case name of a code as it appears in logs and metric labels, e.g. "not_found".
std::string_view ToString(Code code);

/// A failure: a code to act on and a sentence to read. The sentence names the thing, the value, and the way out.
struct Error {
  Code code = Code::kInternal;
  std::string message;

  /// Prepends context on the way up: Error{"409"}.In("bind pod a/b") reads "bind pod a/b: 409".
  [[nodiscard]] Error In(std::string_view context) const& { return {code, fmt::format("{}: {}", context, message)}; }
};

template <class T = void>
using Result = tl::expected<T, Error>;

/// `return Fail(Code::kInvalid, "gpumem {} is negative", value);`
template <class... Args>
[[nodiscard]] tl::unexpected<Error> Fail(Code code, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

/// Passes an error on, with context: `if (!r) return Fail(r.error(), "read config");`
[[nodiscard]] inline tl::unexpected<Error> Fail(const Error& error, std::string_view context) {
  return tl::unexpected<Error>(error.In(context));
}
[[nodiscard]] inline tl::unexpected<Error> Fail(const Error& error) { return tl::unexpected<Error>(error); }

}  // namespace partage
