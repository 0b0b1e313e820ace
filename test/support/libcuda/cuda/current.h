// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "test/support/libcuda/cuda/driver.h"

namespace partage::fake_gpu {

/// The calling thread's contexts, topmost last.
struct ContextStack {
  static constexpr int kDepth = 64;
  Context* items[kDepth];
  int size;

  Context* top() const { return size == 0 ? nullptr : items[size - 1]; }
};
extern thread_local ContextStack context_stack;

}  // namespace partage::fake_gpu
