// SPDX-License-Identifier: Apache-2.0
// What dlopen and dlmopen do before they jump to libc's. See trampoline.cc.
#pragma once

#include <dlfcn.h>
#include <link.h>

extern "C" {
/// Arms the process when `name` is one of the driver's libraries; returns the function to jump to. Leaves errno and the dlerror of others alone.
[[gnu::visibility("hidden")]] void* partage_decide_dlopen(const char* name, int flags);
[[gnu::visibility("hidden")]] void* partage_decide_dlmopen(Lmid_t space, const char* name, int flags);
}
