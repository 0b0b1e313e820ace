// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

namespace partage::bench {

/// The measurement cannot go on: says why and ends the program with status 1. Child processes end with it.
template <class... Args>
[[noreturn]] void GiveUp(fmt::format_string<Args...> why, Args&&... args) {
  std::fputs(fmt::format("partage-bench: {}\n", fmt::format(why, std::forward<Args>(args)...)).c_str(), stderr);
  std::exit(EXIT_FAILURE);
}

/// What is going on, for the one who waits.
template <class... Args>
void Say(fmt::format_string<Args...> what, Args&&... args) {
  std::fputs(fmt::format("  {}\n", fmt::format(what, std::forward<Args>(args)...)).c_str(), stderr);
}

}  // namespace partage::bench
