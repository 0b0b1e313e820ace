// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

namespace partage::test {

struct Ran {
  int status = 0;  ///< of waitpid
  std::string out;
  std::string err;
};

using Environment = std::map<std::string, std::string>;

/// Runs a program with exactly this environment (and PATH) to its end.
Ran Run(const std::vector<std::string>& command, const Environment& environment);

/// The names of the system calls that `command` makes, in order, as numbers; empty when this machine does not let us trace.
std::vector<long> SystemCalls(const std::vector<std::string>& command, const Environment& environment);

}  // namespace partage::test
