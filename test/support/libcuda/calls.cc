// SPDX-License-Identifier: Apache-2.0
#include "test/support/libcuda/calls.h"

namespace partage::fake_gpu {

void CallRecord::OrderFailure(int code, uint64_t skip, uint64_t times) {
  fail_code = 0;
  fail_skip = skip;
  fail_times = times;
  fail_code = code;
}

int CallRecord::TakeFailure() {
  uint64_t skip = fail_skip.load();
  while (skip > 0) {
    if (fail_skip.compare_exchange_weak(skip, skip - 1)) return 0;
  }
  const int code = fail_code.load();
  uint64_t times = fail_times.load();
  while (times > 0) {
    if (!fail_times.compare_exchange_weak(times, times - 1)) continue;
    if (times == 1) fail_code = 0;
    break;
  }
  return code;
}

Calls::Calls(const char* const* names, int count) : records_(new CallRecord[static_cast<size_t>(count)]), count_(count) {
  for (int i = 0; i < count; ++i) records_[i].name = names[i];
  for (const auto& injection : Profile::Get().injections) {
    if (CallRecord* record = Find(injection.name.c_str())) record->OrderFailure(injection.code, injection.skip, injection.times);
  }
}

CallRecord* Calls::Find(const char* name) {
  for (int i = 0; i < count_; ++i) {
    if (std::strcmp(records_[i].name, name) == 0) return &records_[i];
  }
  return nullptr;
}

void Calls::Reset() {
  for (int i = 0; i < count_; ++i) {
    records_[i].calls = 0;
    records_[i].argument_count = 0;
    records_[i].fail_code = 0;
  }
}

}  // namespace partage::fake_gpu
