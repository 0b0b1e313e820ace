// SPDX-License-Identifier: Apache-2.0
#include "intercept/loader/driver.h"

#include <dlfcn.h>
#include <string.h>

#include "intercept/hook_table.h"
#include "intercept/loader/address_map.h"
#include "intercept/lock.h"
#include "intercept/log.h"
#include "intercept/runtime.h"

// The tail-jumping functions of trampoline.cc by names that nobody else's definition can take.
extern "C" {
[[gnu::visibility("hidden")]] void partage_dlopen();
[[gnu::visibility("hidden")]] void partage_dlmopen();
}

namespace partage::intercept::loader {
namespace {

constexpr const char* kStems[kLibraries] = {"libcuda.so", "libnvidia-ml.so"};
constexpr const char* kSonames[kLibraries] = {"libcuda.so.1", "libnvidia-ml.so.1"};
constexpr unsigned kBegin[kLibraries] = {0, kFirstNvmlRow};
constexpr unsigned kEnd[kLibraries] = {kFirstNvmlRow, kRows};
constexpr int kMostCopies = 8;

/// What is known of one library. `first` is set once, before `armed`.
struct Loaded {
  const link_map* first = nullptr;
  std::atomic<bool> armed{false};
  std::atomic<bool> redirected{false};
  Way way = Way::kNothingToDo;
  const link_map* copies[kMostCopies] = {};  // others made to lead to the first
};

Loaded g_loaded[kLibraries];
bool g_copy_only = false;
AddressMap<512> g_hooks;  // to numbers among Hooks
ForkLock g_lock;          // held for table work only, never while calling the loader

ElfImage ImageOf(const link_map* map) { return ElfImage(map->l_addr, map->l_ld); }

/// A page of zeros that is read first and written then costs two faults; this makes it one. Changes nothing.
template <class Table>
void TouchForWriting(Table& table) {
  constexpr std::size_t kPage = 4096;
  char* const bytes = reinterpret_cast<char*>(&table);
  char none = 0;
  asm("" : "+r"(none));  // or the compiler makes loads of what follows
  for (std::size_t at = 0; at < sizeof table; at += kPage) __atomic_fetch_or(&bytes[at], none, __ATOMIC_RELAXED);
  __atomic_fetch_or(&bytes[sizeof table - 1], none, __ATOMIC_RELAXED);
}

void* BodyOf(unsigned hook) { return reinterpret_cast<void*>(Hooks{}.begin()[hook].body); }

/// Numbers among Hooks by row.
class HooksByRow {
 public:
  HooksByRow() {
    std::uint16_t number = 0;
    for (const AnyHook& hook : Hooks{}) numbers_[hook.row] = ++number;
  }
  int Find(unsigned row) const { return numbers_[row] - 1; }

 private:
  std::uint16_t numbers_[kRows] = {};  // + 1; 0: not hooked
};

/// Reads the addresses of the rows not read yet. What is redirected already (an arming cut short by fork) shows our own hook: no address then.
void ReadRows(unsigned library, const ElfImage& image) {
  TouchForWriting(g_hooks);
  TouchForWriting(g_real);
  const HooksByRow hooks;
  image.ForEachDefined([&](const ElfW(Sym) & symbol, std::uint32_t hash) {
    const int found = RowNamed(hash, image.NameOf(symbol));
    const auto row = static_cast<unsigned>(found);
    if (found < 0 || row < kBegin[library] || row >= kEnd[library] || g_real[row] != nullptr) return;
    const int hook = hooks.Find(row);
    void* const address = image.AddressOf(symbol);
    if (hook >= 0 && address == BodyOf(static_cast<unsigned>(hook))) return;
    if (hook >= 0) g_hooks.Put(address, static_cast<unsigned>(hook));
    __atomic_store_n(&g_real[row], address, __ATOMIC_RELEASE);
  });
}

void* HookAt(const void* real) {
  const int hook = g_hooks.Find(real);
  return hook >= 0 ? BodyOf(static_cast<unsigned>(hook)) : nullptr;
}

/// By address, not by name: of the drivers tried none has two names for one function, and if one had, either hook would do.
void* HookOfFunction(const char*, void* address, void*) { return HookAt(address); }

/// Every name of a copy leads where the same name of the first leads.
void* SameInFirst(const char* name, void*, void* context) {
  const auto& first = *static_cast<const ElfImage*>(context);
  const ElfW(Sym)* const symbol = first.Find(name);
  return symbol != nullptr ? first.AddressOf(*symbol) : nullptr;
}

Way RedirectByCopyTo(const ElfImage& image) { return RedirectByCopy(image, HookOfFunction, nullptr) ? Way::kCopiedTable : Way::kFailed; }

void RedirectFirst(unsigned library) {
  Loaded& loaded = g_loaded[library];
  const ElfImage image = ImageOf(loaded.first);
  loaded.way = g_copy_only ? RedirectByCopyTo(image) : Redirect(image, HookOfFunction, nullptr);
  loaded.redirected.store(true, std::memory_order_release);
  if (loaded.way == Way::kCopiedTable) Log(Level::kInfo, kSonames[library], ": redirected by a copy of its symbol table");
  if (loaded.way == Way::kFailed)
    Log(Level::kError, kSonames[library], ": look-ups cannot be redirected; ",
        library == static_cast<unsigned>(Library::kCuda) && RefusesOnFault() ? "only programs linked with it may use it"
                                                                             : "only programs linked with it are limited");
}

void RedirectCopy(unsigned library, const link_map* map) {
  Loaded& loaded = g_loaded[library];
  for (const link_map*& copy : loaded.copies) {
    if (copy == map) return;
    if (copy != nullptr) continue;
    ElfImage first = ImageOf(loaded.first);
    const ElfImage image = ImageOf(map);
    Redirect(image, SameInFirst, &first);
    copy = map;
    return;
  }
}

/// REQUIRES: g_lock held.
void ArmWith(unsigned library, const link_map* map, bool redirect) {
  Loaded& loaded = g_loaded[library];
  if (loaded.first == nullptr) loaded.first = map;
  if (!loaded.armed.load(std::memory_order_relaxed)) {
    ReadRows(library, ImageOf(loaded.first));
    loaded.armed.store(true, std::memory_order_release);
  }
  if (redirect && !loaded.redirected.load(std::memory_order_relaxed)) RedirectFirst(library);
}

/// Whether an object of our namespace is the library. The loader itself would open and read the file to tell.
bool IsLoaded(unsigned library) {
  bool found = false;
  ForEachLoaded([&](const ElfImage& image, const char* path) {
    found = image.ok() && (strcmp(image.soname(), kSonames[library]) == 0 || LibraryOf(path) == static_cast<int>(library));
    return !found;
  });
  return found;
}

/// The handle of the library by its soname. glibc's handles are link_maps.
link_map* Open(unsigned library, int extra_flags) {
  const DlopenFunction open = RealDlopen();
  return open != nullptr ? static_cast<link_map*>(open(kSonames[library], RTLD_LAZY | extra_flags)) : nullptr;
}

/// Looked up anew until there is one: with glibc before 2.34 dlopen may arrive with a library.
template <class Function>
Function NextFunction(std::atomic<Function>& cache, void (*own)(), const char* name) {
  Function found = cache.load(std::memory_order_acquire);
  if (found == nullptr) {
    found = reinterpret_cast<Function>(NextAfter(reinterpret_cast<const void*>(own), name));
    cache.store(found, std::memory_order_release);
  }
  return found;
}

}  // namespace

int LibraryOf(const char* name) {
  const char* const slash = strrchr(name, '/');
  const char* const last = slash != nullptr ? slash + 1 : name;
  for (unsigned i = 0; i < kLibraries; ++i) {
    const size_t length = strlen(kStems[i]);
    if (strncmp(last, kStems[i], length) == 0 && (last[length] == 0 || last[length] == '.')) return static_cast<int>(i);
  }
  return -1;
}

bool Arm(Library which, bool redirect, bool only_if_loaded) {
  const auto library = static_cast<unsigned>(which);
  const Loaded& loaded = g_loaded[library];
  if (loaded.armed.load(std::memory_order_acquire) && (!redirect || loaded.redirected.load(std::memory_order_acquire))) return true;
  const link_map* const map = !only_if_loaded ? Open(library, 0) : IsLoaded(library) ? Open(library, RTLD_NOLOAD) : nullptr;
  if (map == nullptr || !ImageOf(map).ok()) return false;
  const Locked locked(g_lock);
  ArmWith(library, map, redirect);
  return true;
}

void Adopt(Library which, void* handle) {
  const auto library = static_cast<unsigned>(which);
  const auto* const map = static_cast<const link_map*>(handle);
  if (map == nullptr || !ImageOf(map).ok()) return;
  const Locked locked(g_lock);
  if (g_loaded[library].first == nullptr || g_loaded[library].first == map) {
    ArmWith(library, map, true);
  } else {
    RedirectCopy(library, map);
  }
}

void RedirectByCopyOnly() { g_copy_only = true; }

bool IsArmed(Library library) { return g_loaded[static_cast<unsigned>(library)].armed.load(std::memory_order_acquire); }

Way WayOf(Library library) { return g_loaded[static_cast<unsigned>(library)].way; }

void* HookAtAddress(const void* real) { return HookAt(real); }

DlopenFunction RealDlopen() {
  static std::atomic<DlopenFunction> cache{nullptr};
  return NextFunction(cache, &partage_dlopen, "dlopen");
}

DlmopenFunction RealDlmopen() {
  static std::atomic<DlmopenFunction> cache{nullptr};
  return NextFunction(cache, &partage_dlmopen, "dlmopen");
}

}  // namespace partage::intercept::loader
