// SPDX-License-Identifier: Apache-2.0
// Rows by name, and the hooks there are. For arming, not for hooks.
#pragma once

#include <cstdint>

#include "intercept/table.h"

namespace partage::intercept {

/// The number of the row with this exported name, of which `hash` is the GNU hash (loader/elf.h); -1: there is none. The lowest bit of the hash does
/// not count, for the loader's own tables use it otherwise.
int RowNamed(std::uint32_t hash, const char* name);

/// One hook. The linker gathers those of all files, so that they need no table of all rows, most of which nobody hooks: its pages would have to be
/// relocated in every process that is started in the container, whether it ever uses a GPU or not.
template <class Signature>
struct HookEntry {
  std::uintptr_t row;
  Signature* body;
};
using AnyHook = HookEntry<void()>;

/// All hooks, in no order.
struct Hooks {
  const AnyHook* begin() const;
  const AnyHook* end() const;
};

}  // namespace partage::intercept
