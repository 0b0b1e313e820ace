// SPDX-License-Identifier: Apache-2.0
// NVML: what devices and processes use. Utilisation is the average of the last whole sampling period that ended a while ago (the profile's
// nvml_period and nvml_lag); memory is current. On a device with MIG instances only the instances have processes.
#include <algorithm>

#include "test/support/libcuda/nvml/nvml.h"

namespace partage::fake_gpu {
namespace {

constexpr uint64_t kReserved = 256ull << 20;  // what the _v2 memory figures say is the driver's own, part of the total

uint64_t UsedBytes(int index) {
  uint64_t used = Gpus::Get().UsedBytes(index);
  const auto& devices = Profile::Get().devices;
  for (size_t i = 0; i < devices.size(); ++i) {
    if (devices[i].parent == index) used += Gpus::Get().UsedBytes(static_cast<int>(i));
  }
  return used;
}

/// Lists by NVML's rule: `count` says how many there is room for, and then how many there are.
template <class Info>
nvmlReturn_t ListProcesses(nvmlDevice_t device, unsigned* count, Info* infos) {
  return OnDevice(device, [&](int index, const DeviceSpec&) {
    if (count == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    const auto processes = Gpus::Get().Processes(index);
    const unsigned room = infos == nullptr ? 0 : *count;
    *count = static_cast<unsigned>(processes.size());
    if (room < processes.size()) return NVML_ERROR_INSUFFICIENT_SIZE;
    for (size_t i = 0; i < processes.size(); ++i) {
      infos[i] = {};
      infos[i].pid = static_cast<unsigned>(processes[i].pid);
      infos[i].usedGpuMemory = processes[i].bytes;
      if constexpr (requires { infos[i].gpuInstanceId; }) infos[i].gpuInstanceId = infos[i].computeInstanceId = ~0u;
    }
    return NVML_SUCCESS;
  });
}

template <class Info>
nvmlReturn_t NoProcesses(nvmlDevice_t device, unsigned* count, Info*) {
  return OnDevice(device, [&](int, const DeviceSpec&) { return Give(count, 0); });
}

/// The processes that used the device in the last period, if that ended after `last_seen` (µs).
std::vector<ProcessUse> Samples(int index, unsigned long long last_seen, unsigned long long& stamp) {
  int64_t sampled_at = 0;
  Gpus::Get().Utilization(index, sampled_at);
  stamp = static_cast<unsigned long long>(sampled_at / 1000);
  auto processes = Gpus::Get().Processes(index);
  std::erase_if(processes, [&](const ProcessUse& process) { return process.percent == 0 || stamp <= last_seen; });
  return processes;
}

}  // namespace

FAKE_NVML(nvmlDeviceGetMemoryInfo)(nvmlDevice_t device, nvmlMemory_t* out) {
  return OnDevice(device, [&](int index, const DeviceSpec&) {
    const uint64_t used = UsedBytes(index), total = Gpus::Get().Capacity(index);
    return Give(out, nvmlMemory_t{.total = total, .free = total - used, .used = used});
  });
}

FAKE_NVML(nvmlDeviceGetMemoryInfo_v2)(nvmlDevice_t device, nvmlMemory_v2_t* out) {
  return OnDevice(device, [&](int index, const DeviceSpec&) {
    if (out == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    if (out->version != NvmlStructVersion(sizeof(*out), 2)) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    const uint64_t used = UsedBytes(index), total = Gpus::Get().Capacity(index);
    const uint64_t reserved = std::min(kReserved, total - used);
    *out = {.version = out->version, .total = total, .reserved = reserved, .free = total - used - reserved, .used = used};
    return NVML_SUCCESS;
  });
}

FAKE_NVML(nvmlDeviceGetBAR1MemoryInfo)(nvmlDevice_t device, nvmlBAR1Memory_t* out) {
  return OnDevice(device, [&](int, const DeviceSpec& spec) { return Give(out, nvmlBAR1Memory_t{spec.memory, spec.memory, 0}); });
}

FAKE_NVML(nvmlDeviceGetUtilizationRates)(nvmlDevice_t device, nvmlUtilization_t* out) {
  return OnDevice(device, [&](int index, const DeviceSpec&) {
    int64_t sampled_at = 0;
    const unsigned percent = Gpus::Get().Utilization(index, sampled_at);
    return Give(out, nvmlUtilization_t{.gpu = percent, .memory = percent / 2});
  });
}

FAKE_NVML(nvmlDeviceGetProcessUtilization)
(nvmlDevice_t device, nvmlProcessUtilizationSample_t* samples, unsigned* count, unsigned long long last_seen) {
  return OnDevice(device, [&](int index, const DeviceSpec& spec) {
    if (count == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    if (spec.parent >= 0) return NVML_ERROR_NOT_SUPPORTED;
    unsigned long long stamp = 0;
    const auto processes = Samples(index, last_seen, stamp);
    const unsigned room = samples == nullptr ? 0 : *count;
    *count = static_cast<unsigned>(processes.size());
    if (processes.empty()) return NVML_ERROR_NOT_FOUND;
    if (room < processes.size()) return NVML_ERROR_INSUFFICIENT_SIZE;
    for (size_t i = 0; i < processes.size(); ++i) {
      samples[i] = {.pid = static_cast<unsigned>(processes[i].pid), .timeStamp = stamp, .smUtil = processes[i].percent};
    }
    return NVML_SUCCESS;
  });
}

FAKE_NVML(nvmlDeviceGetProcessesUtilizationInfo)(nvmlDevice_t device, nvmlProcessesUtilizationInfo_t* info) {
  return OnDevice(device, [&](int index, const DeviceSpec&) {
    if (info == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
    unsigned long long stamp = 0;
    const auto processes = Samples(index, info->lastSeenTimeStamp, stamp);
    const unsigned room = info->procUtilArray == nullptr ? 0 : info->processSamplesCount;
    info->processSamplesCount = static_cast<unsigned>(processes.size());
    if (processes.empty()) return NVML_ERROR_NOT_FOUND;
    if (room < processes.size()) return NVML_ERROR_INSUFFICIENT_SIZE;
    for (size_t i = 0; i < processes.size(); ++i) {
      info->procUtilArray[i] = {.timeStamp = stamp, .pid = static_cast<unsigned>(processes[i].pid), .smUtil = processes[i].percent};
    }
    return NVML_SUCCESS;
  });
}

FAKE_NVML(nvmlDeviceGetComputeRunningProcesses)(nvmlDevice_t device, unsigned* count, nvmlProcessInfo_v1_t* infos) {
  return ListProcesses(device, count, infos);
}
FAKE_NVML(nvmlDeviceGetComputeRunningProcesses_v2)(nvmlDevice_t device, unsigned* count, nvmlProcessInfo_t* infos) {
  return ListProcesses(device, count, infos);
}
FAKE_NVML_SAME(nvmlDeviceGetComputeRunningProcesses_v3, nvmlDeviceGetComputeRunningProcesses_v2);

FAKE_NVML(nvmlDeviceGetGraphicsRunningProcesses)(nvmlDevice_t device, unsigned* count, nvmlProcessInfo_v1_t* infos) {
  return NoProcesses(device, count, infos);
}
FAKE_NVML_SAME(nvmlDeviceGetMPSComputeRunningProcesses, nvmlDeviceGetGraphicsRunningProcesses);
FAKE_NVML(nvmlDeviceGetGraphicsRunningProcesses_v2)(nvmlDevice_t device, unsigned* count, nvmlProcessInfo_t* infos) {
  return NoProcesses(device, count, infos);
}
FAKE_NVML_SAME(nvmlDeviceGetGraphicsRunningProcesses_v3, nvmlDeviceGetGraphicsRunningProcesses_v2);
FAKE_NVML_SAME(nvmlDeviceGetMPSComputeRunningProcesses_v2, nvmlDeviceGetGraphicsRunningProcesses_v2);
FAKE_NVML_SAME(nvmlDeviceGetMPSComputeRunningProcesses_v3, nvmlDeviceGetGraphicsRunningProcesses_v2);

FAKE_NVML(nvmlDeviceGetRunningProcessDetailList)(nvmlDevice_t device, nvmlProcessDetailList_t* list) {
  if (list == nullptr) return NVML_ERROR_INVALID_ARGUMENT;
  if (list->mode != 0) return NoProcesses(device, &list->numProcArrayEntries, list->procArray);  // 0: compute
  return ListProcesses(device, &list->numProcArrayEntries, list->procArray);
}

}  // namespace partage::fake_gpu
