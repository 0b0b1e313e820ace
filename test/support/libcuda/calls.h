// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "test/support/libcuda/gpu/profile.h"

namespace partage::fake_gpu {

inline constexpr int kMaxArguments = 16;

/// What is known of one exported function: calls so far, the last call's arguments, and the failure that a test ordered. Thread-safe.
struct CallRecord {
  const char* name = nullptr;
  std::atomic<uint64_t> calls{0};
  std::atomic<int> fail_code{0};
  std::atomic<uint64_t> fail_skip{0};
  std::atomic<uint64_t> fail_times{0};  // 0: for ever
  std::array<std::atomic<uint64_t>, kMaxArguments> arguments{};
  std::atomic<int> argument_count{0};

  void OrderFailure(int code, uint64_t skip, uint64_t times);
  /// The code this call must answer with; 0: none is ordered; kFakeNothing: success, but nothing is to be done.
  int TakeFailure();
};

/// An argument as 64 bits: itself when it fits, else a hash of its bytes.
template <class T>
uint64_t ArgumentBits(const T& argument) {
  uint64_t bits = 0;
  if constexpr (sizeof(T) <= sizeof(bits)) {
    std::memcpy(&bits, &argument, sizeof(T));
  } else {
    std::array<unsigned char, sizeof(T)> bytes;
    std::memcpy(bytes.data(), &argument, sizeof(T));
    for (const unsigned char byte : bytes) bits = (bits ^ byte) * 0x100000001b3;
  }
  return bits;
}

/// The records of one library's functions. Made once, from the library's table of names.
class Calls {
 public:
  Calls(const char* const* names, int count);

  CallRecord& at(int index) { return records_[index]; }
  CallRecord* Find(const char* name);
  /// Forgets counts, arguments and ordered failures.
  void Reset();

 private:
  CallRecord* records_;
  int count_;
};

/// Notes a call. Used as EnterCall{record}(arguments…), which gives the code that the call must fail with, or 0.
struct EnterCall {
  CallRecord& record;

  template <class... Arguments>
  int operator()(const Arguments&... arguments) const {
    record.calls.fetch_add(1, std::memory_order_relaxed);
    int i = 0;
    (record.arguments[i++].store(ArgumentBits(arguments), std::memory_order_relaxed), ...);
    record.argument_count.store(i, std::memory_order_relaxed);
    return record.fail_code.load(std::memory_order_relaxed) == 0 ? 0 : record.TakeFailure();
  }
};

}  // namespace partage::fake_gpu
