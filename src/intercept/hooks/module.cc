// SPDX-License-Identifier: Apache-2.0
// Code and global variables of modules and libraries. How much they take shows only afterwards; what does not fit is unloaded again.
#include "intercept/hook.h"
#include "intercept/memory/ledger.h"
#include "intercept/memory/overhead.h"

namespace partage::intercept {
namespace {

using namespace memory;

/// Loads by calling load(); `module` gets the handle, `unload` takes it.
template <class Module, class Load, class Unload>
CUresult Loaded(Module* module, Load&& load, Unload&& unload) {
  const Entered entered;
  const Place place = entered && module != nullptr ? Here() : Place{};
  if (place.device < 0) return load();
  const Overhead overhead(place.device);
  const CUresult result = load();
  const std::uint64_t bytes = result == CUDA_SUCCESS ? overhead.Growth(kMostForModule) : 0;
  if (bytes == 0) return result;
  if (Afford(place.device, MemoryClass::kModule, bytes)) {
    Record(KeyOf(*module), Kind::kModule, place, bytes);
    return result;
  }
  unload(*module);
  *module = nullptr;
  return CUDA_ERROR_OUT_OF_MEMORY;
}

template <class Load>
CUresult LoadedModule(CUmodule* module, Load&& load) {
  return Loaded(module, load, [](CUmodule loaded) { CallReal<Row::cuModuleUnload>(loaded); });
}

template <class Load>
CUresult LoadedLibrary(CUlibrary* library, Load&& load) {
  return Loaded(library, load, [](CUlibrary loaded) { CallReal<Row::cuLibraryUnload>(loaded); });
}

template <class Module>
CUresult Unloaded(CUresult (*real)(Module), Module module) {
  const Entered entered;
  if (!entered) return real(module);
  return Freed(KeyOf(module), Kinds(Kind::kModule), [&] { return real(module); });
}

}  // namespace

PARTAGE_HOOK(CUresult, cuModuleLoad, (CUmodule * module, const char* fname)) {
  return LoadedModule(module, [&] { return Real(module, fname); });
}
PARTAGE_HOOK(CUresult, cuModuleLoadData, (CUmodule * module, const void* image)) {
  return LoadedModule(module, [&] { return Real(module, image); });
}
PARTAGE_HOOK(CUresult, cuModuleLoadDataEx,
             (CUmodule * module, const void* image, unsigned num_options, CUjit_option* options, void** option_values)) {
  return LoadedModule(module, [&] { return Real(module, image, num_options, options, option_values); });
}
PARTAGE_HOOK(CUresult, cuModuleLoadFatBinary, (CUmodule * module, const void* fat_cubin)) {
  return LoadedModule(module, [&] { return Real(module, fat_cubin); });
}
PARTAGE_HOOK(CUresult, cuModuleUnload, (CUmodule hmod)) { return Unloaded(Real, hmod); }

PARTAGE_HOOK(CUresult, cuLibraryLoadData,
             (CUlibrary * library, const void* code, CUjit_option* jit_options, void** jit_options_values, unsigned num_jit_options,
              CUlibraryOption* library_options, void** library_option_values, unsigned num_library_options)) {
  return LoadedLibrary(library, [&] {
    return Real(library, code, jit_options, jit_options_values, num_jit_options, library_options, library_option_values,
                num_library_options);
  });
}
PARTAGE_HOOK(CUresult, cuLibraryLoadFromFile,
             (CUlibrary * library, const char* file_name, CUjit_option* jit_options, void** jit_options_values, unsigned num_jit_options,
              CUlibraryOption* library_options, void** library_option_values, unsigned num_library_options)) {
  return LoadedLibrary(library, [&] {
    return Real(library, file_name, jit_options, jit_options_values, num_jit_options, library_options, library_option_values,
                num_library_options);
  });
}
PARTAGE_HOOK(CUresult, cuLibraryUnload, (CUlibrary library)) { return Unloaded(Real, library); }

}  // namespace partage::intercept
