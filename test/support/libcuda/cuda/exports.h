// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

namespace partage::fake_gpu {

/// One exported entry point of libcuda.so.1.
struct Export {
  const char* name;
  int since;  // first CUDA version whose driver has it: 1000 * major + 10 * minor
  void* address;
};

/// All of them, of every version: a driver profile shows only those up to its own.
const std::vector<Export>& Exports();

/// Whether calls only pretend (the profile's `fast`). Known once any export has been called.
extern bool fast_mode;
inline bool FastMode() { return fast_mode; }

}  // namespace partage::fake_gpu
