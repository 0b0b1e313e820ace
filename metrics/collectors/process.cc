// SPDX-License-Identifier: Apache-2.0
// What the process itself uses, under the names all Prometheus clients share.

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "metrics/collectors/collector.h"
#include "metrics/collectors/family.h"

namespace partage::metrics {
namespace {

using Type = Desc::Type;

const Desc kCpu{Type::kCounter, "process_cpu_seconds_total", "Processor time used by the process.", {}, {}};
const Desc kMemory{Type::kGauge, "process_resident_memory_bytes", "Memory the process holds.", {}, {}};
const Desc kDescriptors{Type::kGauge, "process_open_fds", "File descriptors the process has open.", {}, {}};
const Desc kMaxDescriptors{Type::kGauge, "process_max_fds", "File descriptors the process may have open.", {}, {}};

double CpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::optional<double> ResidentBytes() {
  std::size_t size = 0, resident = 0;
  std::ifstream statm("/proc/self/statm");
  if (!(statm >> size >> resident)) return std::nullopt;
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

std::optional<double> OpenDescriptors() {
  std::error_code ec;
  const std::filesystem::directory_iterator entries("/proc/self/fd", ec);
  if (ec) return std::nullopt;
  return static_cast<double>(std::distance(begin(entries), end(entries)) - 1);  // the listing itself has one open
}

std::optional<double> MaxDescriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::nullopt;
  return static_cast<double>(limit.rlim_cur);
}

void EmitIfKnown(const Registry::Sink& emit, const Desc& desc, std::optional<double> value) {
  if (value) EmitGauge(emit, desc, *value);
}

void Collect(const CollectContext&, const Registry::Sink& emit) {
  Family cpu(kCpu);
  cpu.AddCounter(CpuSeconds());
  emit(cpu.Take());
  EmitIfKnown(emit, kMemory, ResidentBytes());
  EmitIfKnown(emit, kDescriptors, OpenDescriptors());
  EmitIfKnown(emit, kMaxDescriptors, MaxDescriptors());
}

const CollectorSpec kProcess{.name = "process",
                             .summary = "What the process itself uses, under the names all Prometheus clients share.",
                             .descs = {&kCpu, &kMemory, &kDescriptors, &kMaxDescriptors},
                             .collect = &Collect};
PARTAGE_REGISTER_COLLECTOR(kProcess);

}  // namespace
}  // namespace partage::metrics
