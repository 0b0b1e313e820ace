// SPDX-License-Identifier: Apache-2.0
// Memory that the driver takes for itself: contexts, modules, heaps. No call says how much; it is what the device has less of afterwards.
#pragma once

#include <cstdint>

#include "intercept/api/cuda.h"
#include "intercept/api/nvml.h"

namespace partage::intercept::memory {

/// Measures what happens between construction and Growth(), by the free memory that the driver reports for the current context's device. Only while
/// nobody else in this container is charged or refunded; other containers' allocations in the same instant cannot be told apart. `most` bounds the
/// damage, and whoever reconciles with NVML's figure per process corrects it.
class Overhead {
 public:
  /// Measures on `device` (index in the limits file) of the current context.
  explicit Overhead(int device) : device_(device), known_(Read(&before_)) {}

  /// Bytes taken so far; 0 when they cannot be known. Never above `most`.
  std::uint64_t Growth(std::uint64_t most) const;

 private:
  struct Gauge {
    std::uint64_t free;     // physical
    std::uint64_t charged;  // to this container
  };
  bool Read(Gauge* gauge) const;

  int device_;
  Gauge before_{};
  bool known_;
};

inline constexpr std::uint64_t kMostForModule = std::uint64_t{256} << 20;
inline constexpr std::uint64_t kMostForContext = std::uint64_t{2} << 30;

/// A device as NVML sees it, which needs no context. NVML is loaded for it, and let go of again.
class PhysicalDevice {
 public:
  /// `device` is the index in the limits file, `ordinal` CUDA's number of the same device.
  PhysicalDevice(int device, CUdevice ordinal);
  ~PhysicalDevice();
  PhysicalDevice(const PhysicalDevice&) = delete;
  PhysicalDevice& operator=(const PhysicalDevice&) = delete;

  /// The memory in use on it, whoever uses it. False: NVML does not say.
  bool Used(std::uint64_t* bytes) const;

  /// The memory that this process uses on it. False: NVML does not list the process, which has no context yet or is unknown by this number (in a
  /// container NVML counts processes as the host does; the node agent's word on that is used).
  bool UsedByThis(std::uint64_t* bytes) const;

 private:
  bool initialised_ = false;
  nvmlDevice_t handle_ = nullptr;
};

/// Measures what a context takes that is created between construction and Cost().
class ContextMeter {
 public:
  ContextMeter(int device, CUdevice ordinal);

  /// False: not known. Bytes: by what this process uses more if NVML tells, else by what the device has less of, provided that nobody in this container was
  /// charged or refunded meanwhile. Other containers can disturb only the second way. Never above kMostForContext.
  bool Cost(std::uint64_t* bytes) const;

 private:
  struct Reading {
    bool known;
    std::uint64_t physical, charged;
  };
  Reading OfThis() const;
  Reading OfAll() const;

  int device_;
  PhysicalDevice physical_;
  Reading this_before_, all_before_;
};

/// What the only context of this process takes, measured now that it exists: what NVML says of the process beyond what it was charged. 0: not known.
std::uint64_t CostOfFirstContext(int device, CUdevice ordinal);

}  // namespace partage::intercept::memory
