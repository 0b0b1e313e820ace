// SPDX-License-Identifier: Apache-2.0
// The rows as the loader walks them: names and hooks by number. For arming, not for hooks.
#pragma once

#include "intercept/table.h"

namespace partage::intercept {

/// The row's exported name.
const char* NameOf(unsigned row);

/// The row's hook, or null when nobody hooks it.
void* HookOf(unsigned row);

}  // namespace partage::intercept
