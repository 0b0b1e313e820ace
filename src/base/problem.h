// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <utility>

#include "base/result.h"

namespace partage {

/// Collects the first thing that is wrong with an input while a reader goes on; what follows is ignored. For readers of many optional members, where a
/// Result after each would hide the reading. Not thread-safe.
class Problem {
 public:
  template <class... Args>
  void Report(fmt::format_string<Args...> format, Args&&... args) {
    if (!error_) error_ = Error{Code::kInvalid, fmt::format(format, std::forward<Args>(args)...)};
  }
  void Report(const Error& error) {
    if (!error_) error_ = error;
  }
  bool any() const { return error_.has_value(); }
  /// REQUIRES: any().
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

}  // namespace partage
