// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/overhead.h"

#include <unistd.h>

#include "intercept/runtime.h"
#include "intercept/table.h"
#include "shm/limits.h"
#include "shm/region.h"

namespace partage::intercept::memory {
namespace {

std::uint64_t Least(std::uint64_t a, std::uint64_t b) { return a < b ? a : b; }

}  // namespace

bool Overhead::Read(Gauge* gauge) const {
  std::size_t free = 0, total = 0;
  if (MemoryLimit(device_) == shm::kNoLimit || CallReal<Row::cuMemGetInfo_v2>(&free, &total) != CUDA_SUCCESS) return false;
  *gauge = {free, MemoryUsed(device_)};
  return true;
}

std::uint64_t Overhead::Growth(std::uint64_t most) const {
  Gauge after{};
  if (!known_ || !Read(&after) || after.free >= before_.free || after.charged != before_.charged) return 0;
  return Least(before_.free - after.free, most);
}

PhysicalDevice::PhysicalDevice(int device, CUdevice ordinal) {
  initialised_ = MemoryLimit(device) != shm::kNoLimit && CallReal<Row::nvmlInit_v2>() == NVML_SUCCESS;
  shm::LimitsContent content;
  if (!initialised_ || !limits().Read(&content)) return;
  if (CallReal<Row::nvmlDeviceGetHandleByUUID>(static_cast<const char*>(content.device[device].uuid), &handle_) == NVML_SUCCESS) return;
  char bus[32] = {};  // limits that name no UUIDs
  if (CallReal<Row::cuDeviceGetPCIBusId>(&bus[0], static_cast<int>(sizeof(bus)), ordinal) != CUDA_SUCCESS ||
      CallReal<Row::nvmlDeviceGetHandleByPciBusId_v2>(static_cast<const char*>(bus), &handle_) != NVML_SUCCESS) {
    handle_ = nullptr;
  }
}

PhysicalDevice::~PhysicalDevice() {
  if (initialised_) CallReal<Row::nvmlShutdown>();
}

bool PhysicalDevice::Used(std::uint64_t* bytes) const {
  nvmlMemory_t memory{};
  if (handle_ == nullptr || CallReal<Row::nvmlDeviceGetMemoryInfo>(handle_, &memory) != NVML_SUCCESS) return false;
  *bytes = memory.used;
  return true;
}

bool PhysicalDevice::UsedByThis(std::uint64_t* bytes) const {
  constexpr unsigned kMost = 128;
  nvmlProcessInfo_t list[kMost];
  unsigned count = kMost;
  if (handle_ == nullptr || CallReal<Row::nvmlDeviceGetComputeRunningProcesses_v3>(handle_, &count, &list[0]) != NVML_SUCCESS) return false;
  const std::uint64_t told = HasSlot() ? region().layout().slots[region().slot()].host_pid.load(std::memory_order_relaxed) : 0;
  const std::uint64_t self = told != 0 ? told : static_cast<std::uint64_t>(getpid());
  for (unsigned i = 0; i < count && i < kMost; ++i) {
    if (list[i].pid != self || list[i].usedGpuMemory == ~0ULL) continue;  // all ones: NVML cannot tell here
    *bytes = list[i].usedGpuMemory;
    return true;
  }
  return false;
}

ContextMeter::ContextMeter(int device, CUdevice ordinal)
    : device_(device), physical_(device, ordinal), this_before_(OfThis()), all_before_(OfAll()) {}

ContextMeter::Reading ContextMeter::OfThis() const {
  Reading reading{};
  reading.known = physical_.UsedByThis(&reading.physical);
  if (HasSlot()) reading.charged = region().UsedBy(region().slot(), static_cast<unsigned>(device_));
  return reading;
}

ContextMeter::Reading ContextMeter::OfAll() const {
  Reading reading{};
  reading.known = physical_.Used(&reading.physical);
  reading.charged = MemoryUsed(device_);
  return reading;
}

bool ContextMeter::Cost(std::uint64_t* bytes) const {
  const Reading own = OfThis(), all = OfAll();
  const auto more = [](const Reading& before, const Reading& after) -> std::uint64_t {
    const std::uint64_t expected = before.physical + after.charged - before.charged;
    return after.physical > expected ? Least(after.physical - expected, kMostForContext) : 0;
  };
  const bool quiet = all.known && all_before_.known && all.charged == all_before_.charged;
  if (own.known) *bytes = more(this_before_, own);  // before its first context the process was not listed: it used nothing
  if (!own.known && quiet) *bytes = more(all_before_, all);
  return own.known || quiet;
}

std::uint64_t CostOfFirstContext(int device, CUdevice ordinal) {
  std::uint64_t used = 0;
  if (!HasSlot() || !PhysicalDevice(device, ordinal).UsedByThis(&used)) return 0;
  const std::uint64_t charged = region().UsedBy(region().slot(), static_cast<unsigned>(device));
  return used > charged ? Least(used - charged, kMostForContext) : 0;
}

}  // namespace partage::intercept::memory
