// SPDX-License-Identifier: Apache-2.0
// Every export of libnvidia-ml.so.1, made from the table in the manner of cuda/exports.cc. What has no fake_<name> answers
// NVML_ERROR_NOT_SUPPORTED.
#include "src/intercept/api/nvml.h"
#include "test/support/libcuda/calls.h"
#include "test/support/libcuda/control.h"

namespace partage::fake_gpu {
namespace {

using namespace intercept;

#define PARTAGE_NVML_FUNCTION(result, name, parameters, arguments, since, group) kIndex_##name,
enum Index : int {
#include "src/intercept/api/nvml_functions.inc"
  kCount
};
#undef PARTAGE_NVML_FUNCTION

#define PARTAGE_NVML_FUNCTION(result, name, parameters, arguments, since, group) #name,
constexpr const char* kNames[] = {
#include "src/intercept/api/nvml_functions.inc"
};
#undef PARTAGE_NVML_FUNCTION

Calls& AllCalls() {
  static Calls& calls = *new Calls(kNames, kCount);
  return calls;
}

}  // namespace

#define PARTAGE_NVML_FUNCTION(result, name, parameters, arguments, since, group)         \
  extern "C" __attribute__((weak, visibility("hidden"))) result fake_##name parameters;  \
  extern "C" __attribute__((visibility("default"))) result name parameters;              \
  extern "C" __attribute__((visibility("default"))) result name parameters {             \
    if (const int failure_ordered = EnterCall{AllCalls().at(kIndex_##name)} arguments)   \
      return static_cast<result>(failure_ordered == kFakeNothing ? 0 : failure_ordered); \
    return fake_##name == nullptr ? NVML_ERROR_NOT_SUPPORTED : fake_##name arguments;    \
  }
#include "src/intercept/api/nvml_functions.inc"
#undef PARTAGE_NVML_FUNCTION

}  // namespace partage::fake_gpu

using partage::fake_gpu::AllCalls;
using partage::fake_gpu::CallRecord;

extern "C" {
#define FAKE_CONTROL __attribute__((visibility("default")))

FAKE_CONTROL int64_t fakeNvmlCalls(const char* name) {
  const CallRecord* record = AllCalls().Find(name);
  return record == nullptr ? -1 : static_cast<int64_t>(record->calls.load());
}

FAKE_CONTROL int fakeNvmlArguments(const char* name, uint64_t* values, int count) {
  const CallRecord* record = AllCalls().Find(name);
  if (record == nullptr) return -1;
  const int known = record->argument_count.load();
  for (int i = 0; i < known && i < count; ++i) values[i] = record->arguments[static_cast<size_t>(i)].load();
  return known;
}

FAKE_CONTROL int fakeNvmlFail(const char* name, int code, uint64_t skip, uint64_t times) {
  CallRecord* record = AllCalls().Find(name);
  if (record == nullptr) return -1;
  record->OrderFailure(code, skip, times);
  return 0;
}

FAKE_CONTROL void fakeNvmlReset() { AllCalls().Reset(); }
}
