// SPDX-License-Identifier: Apache-2.0
// Makes look-ups in one loaded object answer other addresses, for every caller and every way of asking (dlsym with any handle, relocation of objects
// loaded later, the object's own namespace or another), by changing the object's symbol table and nothing else.
//
// First way: the values are rewritten where the table lies. The pages are made writable for that moment and keep their other permissions.
// Second way, when that is not permitted: the loader is shown a changed copy of the table, by the one pointer in the object's dynamic section.
#pragma once

#include "intercept/loader/elf.h"

namespace partage::intercept::loader {

enum class Way { kNothingToDo, kInPlace, kCopiedTable, kFailed };

/// Says where look-ups of a defined function shall lead; null: leave it.
using Target = void* (*)(const char* name, void* address, void* context);

/// Redirects every function of `image` for which `target` answers an address. Doing it twice is harmless. Concurrent look-ups see the old or
/// the new address of a name. kFailed changes nothing.
/// REQUIRES: image.ok(); the object stays loaded for good.
Way Redirect(const ElfImage& image, Target target, void* context);

/// Each way alone, with false for failure; Redirect tries them in this order.
bool RedirectInPlace(const ElfImage& image, Target target, void* context);
bool RedirectByCopy(const ElfImage& image, Target target, void* context);

}  // namespace partage::intercept::loader
