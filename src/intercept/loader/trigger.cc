// SPDX-License-Identifier: Apache-2.0
#include "intercept/loader/trigger.h"

#include <errno.h>
#include <string.h>

#include "intercept/loader/driver.h"
#include "intercept/runtime.h"

namespace partage::intercept::loader {
namespace {

void* NoDlopen(const char*, int) { return nullptr; }

void* NoDlmopen(Lmid_t, const char*, int) { return nullptr; }

/// The library meant, if the process is to be held to a share; else -1.
int Wanted(const char* name) {
  const int library = name != nullptr ? LibraryOf(name) : -1;
  return library >= 0 && Active() ? library : -1;
}

/// Whether programs must not have the driver: whoever finds its functions through a handle would not be limited, and the process is to be refused what
/// cannot be accounted for.
bool MustRefuse(int library) {
  const bool cuda = library == static_cast<int>(Library::kCuda);
  return cuda && RefusesOnFault() && IsArmed(Library::kCuda) && WayOf(Library::kCuda) == Way::kFailed;
}

/// As if there were no driver; what dlerror says after it is this text.
void* Refuse() {
  return RealDlopen()("libpartage.so cannot hold this process to its share of the GPU and was told to refuse; libcuda.so.1", RTLD_LAZY);
}

void* DlopenRefused(const char*, int) { return Refuse(); }

void* DlmopenRefused(Lmid_t, const char*, int) { return Refuse(); }

/// Opens a driver library by a path, or in another namespace, and makes what was opened lead to the hooks.
/// Here libc sees our address instead of the caller's. It matters only for a name without a slash, which is never opened here but in a new namespace.
void* OpenAndAdopt(const char* name, int flags) {
  void* const handle = RealDlopen()(name, flags);
  Adopt(static_cast<Library>(LibraryOf(name)), handle);
  return MustRefuse(LibraryOf(name)) ? Refuse() : handle;
}

void* OpenElsewhereAndAdopt(Lmid_t space, const char* name, int flags) {
  void* const handle = RealDlmopen()(space, name, flags);
  Adopt(static_cast<Library>(LibraryOf(name)), handle);
  return MustRefuse(LibraryOf(name)) ? Refuse() : handle;
}

/// Arms the library that is about to be opened.
void ArmFor(int library, int flags) {
  const int error = errno;
  Arm(static_cast<Library>(library), true, (flags & RTLD_NOLOAD) != 0);
  errno = error;
}

}  // namespace
}  // namespace partage::intercept::loader

void* partage_decide_dlopen(const char* name, int flags) {
  using namespace partage::intercept::loader;
  const DlopenFunction real = RealDlopen();
  if (real == nullptr) return reinterpret_cast<void*>(&NoDlopen);
  const int library = Wanted(name);
  if (library < 0) return reinterpret_cast<void*>(real);
  ArmFor(library, flags);
  if (MustRefuse(library)) return reinterpret_cast<void*>(&DlopenRefused);
  return strchr(name, '/') != nullptr ? reinterpret_cast<void*>(&OpenAndAdopt) : reinterpret_cast<void*>(real);
}

void* partage_decide_dlmopen(Lmid_t, const char* name, int flags) {
  using namespace partage::intercept::loader;
  const DlmopenFunction real = RealDlmopen();
  if (real == nullptr || RealDlopen() == nullptr) return reinterpret_cast<void*>(real != nullptr ? real : &NoDlmopen);
  const int library = Wanted(name);
  if (library < 0) return reinterpret_cast<void*>(real);
  ArmFor(library, flags);
  if (MustRefuse(library)) return reinterpret_cast<void*>(&DlmopenRefused);
  return reinterpret_cast<void*>(&OpenElsewhereAndAdopt);
}
