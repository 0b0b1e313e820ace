// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace partage::fake_gpu {

/// One GPU, or one MIG instance of one (`parent` ≥ 0), as the profile describes it. Listed in NVML's order.
struct DeviceSpec {
  std::string uuid;
  std::string name = "Fake GPU";
  uint64_t memory = uint64_t{16} << 30;  // bytes
  int sms = 108;
  int major = 9;
  int minor = 0;
  std::string pci;  // domain:bus:device.function as NVML writes it, 00000000:3B:00.0
  int parent = -1;  // index of the device that this is a MIG instance of
  std::string mig_profile;
};

/// One `fail` line: calls of `name` answer `code` instead of doing anything, after `skip` that work, `times` times (0: for ever).
struct Injection {
  std::string name;
  int code = 0;
  uint64_t skip = 0;
  uint64_t times = 0;
};

/// How host PIDs look in NVML's process lists.
enum class HostPids { kSame, kOffset, kHidden };

/// Everything a test can choose about the fake driver. Immutable once read; README.md describes the statements.
struct Profile {
  std::vector<DeviceSpec> devices;
  std::vector<int> cuda_order;            // indices into `devices` in CUDA's FASTEST_FIRST order; empty: as listed
  std::string driver;                     // e.g. "550.163.01"; empty: what the library was built as
  uint64_t memory_granularity = 512;      // bytes that linear memory is rounded up to
  uint64_t vmm_granularity = 2ull << 20;  // bytes that cuMemCreate asks for
  uint64_t array_granularity = 64 << 10;  // bytes that arrays are rounded up to
  uint64_t pool_chunk = 32ull << 20;      // bytes that a memory pool grows by
  uint64_t context_bytes = 0;             // device memory that each context takes
  uint64_t module_bytes = 0;              // device memory that each loaded module takes
  uint64_t copy_bandwidth = 0;            // bytes a second of copies and sets; 0: they take no time
  int64_t kernel_ns = 10'000;             // of kernels whose name says nothing
  int64_t slice_ns = 2'000'000;           // one tenant's turn while others wait
  unsigned queue_depth = 1024;            // launches that a process may have unfinished before launching blocks
  int64_t nvml_period_ns = 166'000'000;   // NVML averages over whole periods …
  int64_t nvml_lag_ns = 50'000'000;       // … that ended at least this long ago
  HostPids host_pids = HostPids::kSame;
  int64_t host_pid_offset = 0;
  std::string shm;    // file through which processes share the GPUs; empty: this process has them for itself
  bool fast = false;  // calls cost nanoseconds: no time, no counting, no physical memory
  std::vector<Injection> injections;

  /// Adds the statements of `text`, separated by line ends or ';'; '#' begins a comment up to the line's end. Returns what is wrong with the first bad one, or
  /// nothing.
  std::string Add(std::string_view text);
  /// Adds what no statement said: one device when there is none, UUIDs and PCI addresses for those without.
  void Complete();

  /// The process's profile: the file $FAKE_CUDA_PROFILE, then the text $FAKE_CUDA. A mistake in either ends the process with a message:
  /// a test that runs under another profile than it wrote proves nothing.
  static const Profile& Get();
};

/// "16G", "512", "2M", "300MiB" → bytes. False when it is none.
bool ParseBytes(std::string_view text, uint64_t& bytes);

/// "20us", "1.5ms", "2s", "700ns" → nanoseconds. False when it is none.
bool ParseDuration(std::string_view text, int64_t& ns);

}  // namespace partage::fake_gpu
