// SPDX-License-Identifier: Apache-2.0
// cuGetProcAddress as the real drivers 470, 535 and 550 answer: base names only; the newest interface not newer than the version asked for,
// whatever the driver's own version; the per-thread form where the flag asks for it and there is one. Also the names of errors.
#include <algorithm>
#include <cstring>
#include <string_view>

#include "test/support/libcuda/cuda/driver.h"
#include "test/support/libcuda/cuda/exports.h"

namespace partage::fake_gpu {
namespace {

/// One interface of a function: by base name, cuMemAlloc has cuMemAlloc and cuMemAlloc_v2.
struct Interface {
  int since;
  void* address;
  bool per_thread;
};

using Interfaces = std::unordered_map<std::string_view, std::vector<Interface>>;

bool DropSuffix(std::string_view& name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return false;
  name.remove_suffix(suffix.size());
  return true;
}

Interfaces ByBaseName() {
  Interfaces interfaces;
  for (const Export& row : Exports()) {
    std::string_view name = row.name;
    const bool per_thread = DropSuffix(name, "_ptsz") || DropSuffix(name, "_ptds");
    for (const auto* version : {"_v2", "_v3", "_v4"}) DropSuffix(name, version);
    if (row.since <= CudaVersion()) interfaces[name].push_back({row.since, row.address, per_thread});
  }
  return interfaces;
}

enum class Found { kYes, kNoSuchName, kTooNew };

Found Look(const char* name, unsigned version, cuuint64_t flags, void*& address) {
  static const Interfaces& interfaces = *new Interfaces(ByBaseName());
  const auto found = interfaces.find(name);
  if (found == interfaces.end()) return Found::kNoSuchName;
  // Where there are per-thread forms and they are asked for, the others do not count: too old a version finds nothing.
  const auto& rows = found->second;
  const bool per_thread = (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0 &&
                          std::any_of(rows.begin(), rows.end(), [](const Interface& row) { return row.per_thread; });
  const Interface* best = nullptr;
  for (const Interface& row : rows) {
    if (row.per_thread != per_thread || static_cast<unsigned>(row.since) > version) continue;
    if (best == nullptr || row.since > best->since) best = &row;
  }
  if (best == nullptr) return Found::kTooNew;
  address = best->address;
  return Found::kYes;
}

struct ErrorText {
  CUresult code;
  const char* name;
  const char* text;
};
constexpr ErrorText kErrors[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

CUresult ErrorField(CUresult code, const char** out, const char* ErrorText::*field) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = nullptr;
  for (const ErrorText& error : kErrors) {
    if (error.code == code) return *out = error.*field, CUDA_SUCCESS;
  }
  return CUDA_ERROR_INVALID_VALUE;
}

bool GoodQuestion(const char* name, void** out, cuuint64_t flags) { return name != nullptr && out != nullptr && flags <= 3; }

}  // namespace

FAKE_CUDA(cuGetProcAddress)(const char* name, void** out, int version, cuuint64_t flags) {
  if (!GoodQuestion(name, out, flags)) return CUDA_ERROR_INVALID_VALUE;
  return Look(name, static_cast<unsigned>(version), flags, *out) == Found::kYes ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

FAKE_CUDA(cuGetProcAddress_v2)(const char* name, void** out, int version, cuuint64_t flags, CUdriverProcAddressQueryResult* status) {
  if (!GoodQuestion(name, out, flags)) return CUDA_ERROR_INVALID_VALUE;
  *out = nullptr;
  const Found found = Look(name, static_cast<unsigned>(version), flags, *out);
  if (status != nullptr) {
    *status = found == Found::kYes          ? CU_GET_PROC_ADDRESS_SUCCESS
              : found == Found::kNoSuchName ? CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND
                                            : CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
  }
  return CUDA_SUCCESS;
}

FAKE_CUDA(cuGetErrorName)(CUresult code, const char** out) { return ErrorField(code, out, &ErrorText::name); }
FAKE_CUDA(cuGetErrorString)(CUresult code, const char** out) { return ErrorField(code, out, &ErrorText::text); }

}  // namespace partage::fake_gpu
