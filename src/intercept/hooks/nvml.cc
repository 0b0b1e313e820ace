// SPDX-License-Identifier: Apache-2.0
// What NVML, and so nvidia-smi, says about a shared device: the container's own memory, processes and use, never a neighbour's.
#include <cstdint>

#include "intercept/hook.h"
#include "intercept/share.h"
#include "shm/clock.h"

namespace partage::intercept {
namespace {

/// The device's index when it is shared out to this container, else -1: then it shows what the driver says.
int SharedIndex(nvmlDevice_t device) { return Active() ? DeviceIndexOf(device) : -1; }

/// The same for a device whose memory is limited.
int LimitedIndex(nvmlDevice_t device) {
  const int index = SharedIndex(device);
  return index >= 0 && MemoryLimit(index) != shm::kNoLimit ? index : -1;
}

// --- Processes: those of the usage file ---

struct Process {
  unsigned pid;  // as this container sees it
  std::uint64_t bytes;
  unsigned slot;
};

template <class Visit>
void ForEachProcess(int index, Visit&& visit) {
  for (unsigned slot = 0; slot < shm::kMaxProcesses; ++slot) {
    const std::uint64_t owner = region().layout().owners[slot].load(std::memory_order_acquire);
    if (owner == 0) continue;
    visit(Process{static_cast<unsigned>(shm::PidOf(owner)), region().UsedBy(slot, static_cast<unsigned>(index)), slot});
  }
}

/// Those that hold memory of the device, in NVML's way to return a list: `count` is the room in and the number out; too little room is an error with
/// the number needed.
template <class Entry, class Fill>
nvmlReturn_t List(int index, unsigned* count, Entry* entries, Fill fill) {
  if (count == nullptr || (*count != 0 && entries == nullptr)) return NVML_ERROR_INVALID_ARGUMENT;
  const unsigned room = *count;
  unsigned found = 0;
  ForEachProcess(index, [&](const Process& process) {
    if (process.bytes == 0) return;
    if (found < room) fill(entries[found], process);
    ++found;
  });
  *count = found;
  return found <= room ? NVML_SUCCESS : NVML_ERROR_INSUFFICIENT_SIZE;
}

constexpr unsigned kNoInstance = ~0U;  // not in a MIG instance

void FillFirst(nvmlProcessInfo_v1_t& entry, const Process& process) { entry = {process.pid, process.bytes}; }

void Fill(nvmlProcessInfo_t& entry, const Process& process) { entry = {process.pid, process.bytes, kNoInstance, kNoInstance}; }

/// Graphics and MPS lists: what of them is ours cannot be told by a pid of the host, and what is not ours is nobody's business here.
nvmlReturn_t Empty(unsigned* count) {
  if (count == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
  *count = 0;
  return NVML_SUCCESS;
}

// --- Utilisation: what the node agent measured of this container ---

constexpr std::uint64_t kFreshNs = 5'000'000'000;

/// Percent of the whole device; -1 when nobody has measured lately.
int MeasuredPercent(int index) {
  const shm::AgentLine& agent = limits().agent(static_cast<unsigned>(index));
  const std::uint64_t stamp = agent.stamp_ns.load(std::memory_order_relaxed);
  if (stamp == 0 || shm::MonotonicNs() > stamp + kFreshNs) return -1;
  const std::uint64_t ppm = agent.utilisation_ppm.load(std::memory_order_relaxed);
  return ppm > 1'000'000 ? 100 : static_cast<int>(ppm / 10'000);
}

/// The process of this container that the driver calls `pid`, by its number here or on the host; 0: it is not ours.
unsigned OwnPid(int index, unsigned pid) {
  unsigned own = 0;
  ForEachProcess(index, [&](const Process& process) {
    const std::uint64_t host_pid = region().layout().slots[process.slot].host_pid.load(std::memory_order_relaxed);
    if (host_pid == pid || (host_pid == 0 && process.pid == pid)) own = process.pid;
  });
  return own;
}

/// Keeps the entries of our own processes, under their numbers here. Returns how many are left.
template <class Sample>
unsigned KeepOwn(int index, Sample* samples, unsigned count) {
  unsigned kept = 0;
  for (unsigned i = 0; i < count; ++i) {
    const unsigned own = OwnPid(index, samples[i].pid);
    if (own == 0) continue;
    samples[kept] = samples[i];
    samples[kept++].pid = own;
  }
  return kept;
}

}  // namespace

// --- Memory ---

PARTAGE_HOOK(nvmlReturn_t, nvmlDeviceGetMemoryInfo, (nvmlDevice_t device, nvmlMemory_t* memory)) {
  const int index = LimitedIndex(device);
  const nvmlReturn_t result = Real(device, memory);
  if (index < 0 || result != NVML_SUCCESS || memory == nullptr) return result;
  const ShareOfMemory share = ShareOf(index, memory->total, memory->free);
  *memory = {share.total, share.free, share.total - share.free};  // this version counts what is reserved as used
  return result;
}

PARTAGE_HOOK(nvmlReturn_t, nvmlDeviceGetMemoryInfo_v2, (nvmlDevice_t device, nvmlMemory_v2_t* memory)) {
  const int index = LimitedIndex(device);
  const nvmlReturn_t result = Real(device, memory);
  if (index < 0 || result != NVML_SUCCESS || memory == nullptr) return result;
  const ShareOfMemory share = ShareOf(index, memory->total, memory->free);
  *memory = {memory->version, share.total, share.total - share.free - share.used, share.free, share.used};
  return result;
}

// --- Processes ---

PARTAGE_HOOK(nvmlReturn_t, nvmlDeviceGetComputeRunningProcesses, (nvmlDevice_t device, unsigned* count, nvmlProcessInfo_v1_t* infos)) {
  const int index = SharedIndex(device);
  return index < 0 ? Real(device, count, infos) : List(index, count, infos, FillFirst);
}

PARTAGE_HOOK(nvmlReturn_t, nvmlDeviceGetComputeRunningProcesses_v2, (nvmlDevice_t device, unsigned* count, nvmlProcessInfo_t* infos)) {
  const int index = SharedIndex(device);
  return index < 0 ? Real(device, count, infos) : List(index, count, infos, Fill);
}

PARTAGE_HOOK(nvmlReturn_t, nvmlDeviceGetComputeRunningProcesses_v3, (nvmlDevice_t device, unsigned* count, nvmlProcessInfo_t* infos)) {
  const int index = SharedIndex(device);
  return index < 0 ? Real(device, count, infos) : List(index, count, infos, Fill);
}

PARTAGE_HOOK(nvmlReturn_t, nvmlDeviceGetGraphicsRunningProcesses, (nvmlDevice_t device, unsigned* count, nvmlProcessInfo_v1_t* infos)) {
  return SharedIndex(device) < 0 ? Real(device, count, infos) : Empty(count);
}

PARTAGE_HOOK(nvmlReturn_t, nvmlDeviceGetGraphicsRunningProcesses_v2, (nvmlDevice_t device, unsigned* count, nvmlProcessInfo_t* infos)) {
  return SharedIndex(device) < 0 ? Real(device, count, infos) : Empty(count);
}

PARTAGE_HOOK(nvmlReturn_t, nvmlDeviceGetGraphicsRunningProcesses_v3, (nvmlDevice_t device, unsigned* count, nvmlProcessInfo_t* infos)) {
  return SharedIndex(device) < 0 ? Real(device, count, infos) : Empty(count);
}

PARTAGE_HOOK(nvmlReturn_t, nvmlDeviceGetMPSComputeRunningProcesses, (nvmlDevice_t device, unsigned* count, nvmlProcessInfo_v1_t* infos)) {
  return SharedIndex(device) < 0 ? Real(device, count, infos) : Empty(count);
}

PARTAGE_HOOK(nvmlReturn_t, nvmlDeviceGetMPSComputeRunningProcesses_v2, (nvmlDevice_t device, unsigned* count, nvmlProcessInfo_t* infos)) {
  return SharedIndex(device) < 0 ? Real(device, count, infos) : Empty(count);
}

PARTAGE_HOOK(nvmlReturn_t, nvmlDeviceGetMPSComputeRunningProcesses_v3, (nvmlDevice_t device, unsigned* count, nvmlProcessInfo_t* infos)) {
  return SharedIndex(device) < 0 ? Real(device, count, infos) : Empty(count);
}

PARTAGE_HOOK(nvmlReturn_t, nvmlDeviceGetRunningProcessDetailList, (nvmlDevice_t device, nvmlProcessDetailList_t* list)) {
  constexpr unsigned kComputeMode = 0;
  const int index = SharedIndex(device);
  if (index < 0 || list == nullptr || list->version != NvmlStructVersion(sizeof(*list), 1)) return Real(device, list);
  if (list->mode != kComputeMode) return Empty(&list->numProcArrayEntries);
  return List(index, &list->numProcArrayEntries, list->procArray, [](nvmlProcessDetail_v1_t& entry, const Process& process) {
    entry = {process.pid, process.bytes, kNoInstance, kNoInstance, 0};
  });
}

// --- Utilisation ---

PARTAGE_HOOK(nvmlReturn_t, nvmlDeviceGetUtilizationRates, (nvmlDevice_t device, nvmlUtilization_t* utilization)) {
  const int index = SharedIndex(device);
  const nvmlReturn_t result = Real(device, utilization);
  if (index < 0 || result != NVML_SUCCESS || utilization == nullptr) return result;
  if (const int percent = MeasuredPercent(index); percent >= 0) utilization->gpu = static_cast<unsigned>(percent);
  return result;
}

PARTAGE_HOOK(nvmlReturn_t, nvmlDeviceGetProcessUtilization,
             (nvmlDevice_t device, nvmlProcessUtilizationSample_t* samples, unsigned* count, unsigned long long last_seen)) {
  const int index = SharedIndex(device);
  const nvmlReturn_t result = Real(device, samples, count, last_seen);
  if (index < 0 || result != NVML_SUCCESS || samples == nullptr || count == nullptr) return result;
  *count = KeepOwn(index, samples, *count);
  return *count != 0 ? result : NVML_ERROR_NOT_FOUND;
}

PARTAGE_HOOK(nvmlReturn_t, nvmlDeviceGetProcessesUtilizationInfo, (nvmlDevice_t device, nvmlProcessesUtilizationInfo_t* info)) {
  const int index = SharedIndex(device);
  const nvmlReturn_t result = Real(device, info);
  if (index < 0 || result != NVML_SUCCESS || info == nullptr || info->procUtilArray == nullptr) return result;
  info->processSamplesCount = KeepOwn(index, info->procUtilArray, info->processSamplesCount);
  return info->processSamplesCount != 0 ? result : NVML_ERROR_NOT_FOUND;
}

}  // namespace partage::intercept
