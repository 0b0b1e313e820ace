// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace partage::bench {

/// What happens in a process that is measured: a program on the fake driver, with or without libpartage.so preloaded. Each role uses the driver
/// that LD_LIBRARY_PATH leads to and prints what it found, or what it lacked and ends the process with 1.

/// Where starting processes meet: one page that all of them map.
struct StartLine {
  static constexpr int kMost = 256;
  long long go_ns;            // when all were let go
  long long ready_ns[kMost];  // when each had its first memory
};

struct Measured {
  std::string call;     // launch, alloc_free, mem_get_info, get_proc_address, memcpy_async
  int live = 0;         // blocks allocated before
  bool linked = false;  // as a program calls it that was linked with the driver, instead of loading it
  bool hooked = false;  // it must really be libpartage.so's
  int rounds = 1;
  int processes = 1;  // that measure at the same time
};

/// Median, over paired batches, of what a call costs more than the driver's own, in ns.
double AddedNs(const Measured& what);

/// Allocates, says so by a byte to `ready`, and waits until `stop` is closed.
void Hold(int ready, int stop);

/// Waits until `go` is closed, starts CUDA, allocates, and notes the time in the start line behind the descriptor.
void Start(int line, int place, int go);

}  // namespace partage::bench
