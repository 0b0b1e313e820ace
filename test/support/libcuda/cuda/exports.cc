// SPDX-License-Identifier: Apache-2.0
// Every export of libcuda.so.1, made from the table of entry points: counted, made to fail where a test ordered that, then handed to
// fake_<name>. What has no fake_<name> answers CUDA_ERROR_NOT_SUPPORTED.
#include "test/support/libcuda/cuda/exports.h"

#include <cstring>

#include "src/intercept/api/cuda.h"
#include "test/support/libcuda/calls.h"
#include "test/support/libcuda/control.h"

namespace partage::fake_gpu {

bool fast_mode = false;

namespace {

using namespace intercept;

#define PARTAGE_CUDA_FUNCTION(result, name, parameters, arguments, since, group) kIndex_##name,
enum Index : int {
#include "src/intercept/api/cuda_functions.inc"
  kCount
};
#undef PARTAGE_CUDA_FUNCTION

#define PARTAGE_CUDA_FUNCTION(result, name, parameters, arguments, since, group) #name,
constexpr const char* kNames[] = {
#include "src/intercept/api/cuda_functions.inc"
};
#undef PARTAGE_CUDA_FUNCTION

Calls& AllCalls() {
  static Calls& calls = *new Calls(kNames, kCount);
  return calls;
}

/// In fast mode calls are neither counted nor made to fail. Settled by the first call.
bool Counted() {
  static const bool counted = !(fast_mode = Profile::Get().fast);
  return counted;
}

}  // namespace

#define PARTAGE_CUDA_FUNCTION(result, name, parameters, arguments, since, group)           \
  extern "C" __attribute__((weak, visibility("hidden"))) result fake_##name parameters;    \
  extern "C" __attribute__((visibility("default"))) result name parameters;                \
  extern "C" __attribute__((visibility("default"))) result name parameters {               \
    if (fast_mode && fake_##name != nullptr) [[likely]]                                    \
      return fake_##name arguments;                                                        \
    if (Counted()) {                                                                       \
      if (const int failure_ordered = EnterCall{AllCalls().at(kIndex_##name)} arguments)   \
        return static_cast<result>(failure_ordered == kFakeNothing ? 0 : failure_ordered); \
    }                                                                                      \
    return fake_##name == nullptr ? CUDA_ERROR_NOT_SUPPORTED : fake_##name arguments;      \
  }
#include "src/intercept/api/cuda_functions.inc"
#undef PARTAGE_CUDA_FUNCTION

#define PARTAGE_CUDA_FUNCTION(result, name, parameters, arguments, since, group) {#name, since, reinterpret_cast<void*>(&name)},
const std::vector<Export>& Exports() {
  static const auto& exports = *new std::vector<Export>{
#include "src/intercept/api/cuda_functions.inc"
  };
  return exports;
}
#undef PARTAGE_CUDA_FUNCTION

}  // namespace partage::fake_gpu

using partage::fake_gpu::AllCalls;
using partage::fake_gpu::CallRecord;

extern "C" {
#define FAKE_CONTROL __attribute__((visibility("default")))

FAKE_CONTROL int64_t fakeCudaCalls(const char* name) {
  const CallRecord* record = AllCalls().Find(name);
  return record == nullptr ? -1 : static_cast<int64_t>(record->calls.load());
}

FAKE_CONTROL int fakeCudaArguments(const char* name, uint64_t* values, int count) {
  const CallRecord* record = AllCalls().Find(name);
  if (record == nullptr) return -1;
  const int known = record->argument_count.load();
  for (int i = 0; i < known && i < count; ++i) values[i] = record->arguments[static_cast<size_t>(i)].load();
  return known;
}

FAKE_CONTROL int fakeCudaFail(const char* name, int code, uint64_t skip, uint64_t times) {
  CallRecord* record = AllCalls().Find(name);
  if (record == nullptr) return -1;
  record->OrderFailure(code, skip, times);
  return 0;
}

FAKE_CONTROL void* fakeCudaAddress(const char* name) {
  for (const auto& row : partage::fake_gpu::Exports()) {
    if (std::strcmp(row.name, name) == 0) return row.address;
  }
  return nullptr;
}

FAKE_CONTROL void fakeCudaReset() { AllCalls().Reset(); }
}
