// SPDX-License-Identifier: Apache-2.0
// The driver's two libraries in this process: found, opened, their entry points read into g_real and, when a limit applies, redirected to the hooks.
#pragma once

#include "intercept/loader/redirect.h"
#include "intercept/table.h"

namespace partage::intercept::loader {

enum class Library : unsigned { kCuda, kNvml };
inline constexpr unsigned kLibraries = 2;

/// The library that a name given to dlopen means (by its last path component, any version suffix), as index; -1: neither.
int LibraryOf(const char* name);

/// Reads, and when `redirect`, redirects the library, opening it by its soname unless it is loaded already. Never waits while the dynamic loader's
/// lock may be wanted. False when there is none on this machine, or (`only_if_loaded`) not in this process.
bool Arm(Library library, bool redirect, bool only_if_loaded);

/// Makes what is behind a handle that dlopen or dlmopen gave lead to the hooks too. Where the library is not armed yet (its soname is not on the search
/// path), this object becomes it; where it is a second copy, in another file or namespace, every function of the copy leads to the first one's: a
/// process has one driver. Null is ignored.
void Adopt(Library library, void* handle);

/// From now on redirect the second way only: for systems on which the first works but is not welcome. Before anything is armed.
void RedirectByCopyOnly();

/// Whether Arm has succeeded.
bool IsArmed(Library library);

/// How the first copy was redirected; kNothingToDo before.
Way WayOf(Library library);

/// The hook that stands for this address of the driver, or null. A probe of a hash table; what cuGetProcAddress asks.
void* HookAtAddress(const void* real);

/// The first function called dlopen, or dlmopen, behind ours in the loader's order. Null when the process has none.
using DlopenFunction = void* (*)(const char* name, int flags);
using DlmopenFunction = void* (*)(Lmid_t space, const char* name, int flags);
DlopenFunction RealDlopen();
DlmopenFunction RealDlmopen();

}  // namespace partage::intercept::loader
