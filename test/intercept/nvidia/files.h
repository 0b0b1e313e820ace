// SPDX-License-Identifier: Apache-2.0
// Where tools/fetch_nvidia.sh puts NVIDIA's files. Tests that need them ask first, say so when there are none, and end.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "test/support/skip.h"

namespace partage::test {

inline const std::string kNvidia = PARTAGE_NVIDIA;
inline const std::vector<std::string> kBranches = {"470", "535", "550"};

/// Prints the line by which ctest knows a skipped test when the files could not be fetched.
inline bool HaveNvidiaFiles() {
  for (const std::string& branch : kBranches) {
    if (std::filesystem::exists(kNvidia + "/" + branch + "/complete")) continue;
    Skipped("no NVIDIA driver " + branch + " in build/nvidia; tools/fetch_nvidia.sh says why");
    return false;
  }
  return true;
}

inline std::string DriverFolder(const std::string& branch) { return kNvidia + "/" + branch + "/usr/lib/x86_64-linux-gnu/nvidia/current"; }

}  // namespace partage::test
