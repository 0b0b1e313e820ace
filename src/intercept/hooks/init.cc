// SPDX-License-Identifier: Apache-2.0
// The first calls of every CUDA and NVML program, and cuGetProcAddress, through which the CUDA runtime finds all the others.
#include "intercept/hook.h"
#include "intercept/loader/driver.h"

namespace partage::intercept {
namespace {

/// The driver has chosen the entry point for the version and the flags asked for; its hook has the same interface. An address that is not ours to
/// hook stays. This also answers the look-up of cuGetProcAddress itself, whose two forms are two addresses.
CUresult WithHook(CUresult result, void** function) {
  if (result != CUDA_SUCCESS || function == nullptr || *function == nullptr) return result;
  if (void* const hook = loader::HookAtAddress(*function); hook != nullptr) *function = hook;
  return result;
}

}  // namespace

PARTAGE_HOOK(CUresult, cuGetProcAddress, (const char* symbol, void** function, int version, cuuint64_t flags)) {
  if (!Active()) return Real(symbol, function, version, flags);
  return WithHook(Real(symbol, function, version, flags), function);
}

PARTAGE_HOOK(CUresult, cuGetProcAddress_v2,
             (const char* symbol, void** function, int version, cuuint64_t flags, CUdriverProcAddressQueryResult* status)) {
  if (!Active()) return Real(symbol, function, version, flags, status);
  return WithHook(Real(symbol, function, version, flags, status), function);
}

// A program linked with the driver is noticed here, before it looks anything up by other ways.
PARTAGE_HOOK(CUresult, cuInit, (unsigned flags)) {
  Active();
  return Real(flags);
}

PARTAGE_HOOK(nvmlReturn_t, nvmlInit, ()) {
  Active();
  return Real();
}

PARTAGE_HOOK(nvmlReturn_t, nvmlInit_v2, ()) {
  Active();
  return Real();
}

PARTAGE_HOOK(nvmlReturn_t, nvmlInitWithFlags, (unsigned flags)) {
  Active();
  return Real(flags);
}

}  // namespace partage::intercept
