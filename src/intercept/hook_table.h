// SPDX-License-Identifier: Apache-2.0
// The rows as the loader walks them: names and hooks by number. For arming, not for hooks.
#pragma once

#include <cstdint>

#include "intercept/table.h"

namespace partage::intercept {

/// The row's exported name.
const char* NameOf(unsigned row);

/// The number of the row with this exported name, of which `hash` is the GNU hash (loader/elf.h); -1: there is none. The lowest bit of the hash does
/// not count, for the loader's own tables use it otherwise.
int RowNamed(std::uint32_t hash, const char* name);

/// The row's hook, or null when nobody hooks it.
void* HookOf(unsigned row);

}  // namespace partage::intercept
