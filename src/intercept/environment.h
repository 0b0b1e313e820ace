// SPDX-License-Identifier: Apache-2.0
// HAMi's environment variables, read strictly: a value is understood completely or refused with a message, never half. Sizes as in shm/size.h.
#pragma once

#include <cstdint>

#include "shm/limits.h"

namespace partage::intercept {

/// What becomes of a process whose limits or usage file cannot be used. By default it is refused memory where the files are the agent's, and runs on
/// (limited by itself, or not at all without limits) where they are not.
enum class OnFault { kDefault, kPass, kRefuse };

/// What the variables ask for. kNoLimit, 0 and `has_… == false` mean "says nothing". Immutable once read.
struct EnvironmentLimits {
  std::uint64_t memory_bytes[shm::kMaxDevices];
  std::uint32_t cores_percent[shm::kMaxDevices];  // 1..99; 0: no limit
  bool has_policy = false;
  shm::CorePolicy policy = shm::CorePolicy::kDefault;
  bool has_priority = false;
  std::uint32_t priority = 1;
  bool control_disabled = false;         // CUDA_DISABLE_CONTROL
  OnFault on_fault = OnFault::kDefault;  // PARTAGE_ON_FAULT
  bool redirect_by_copy = false;         // PARTAGE_REDIRECT
  int log_level = 2;

  /// Whether any device is limited.
  bool limits_anything() const;
};

/// A variable's value or null; getenv in the program.
using GetVariable = const char* (*)(const char* name);

/// Reads all variables. What is refused is logged and counts as not set.
EnvironmentLimits ReadEnvironment(GetVariable get);

/// The i-th comma-separated UUID of NVIDIA_VISIBLE_DEVICES, which HAMi fills in the order of its indices. False when it is not a list of UUIDs.
bool VisibleUuid(const char* list, unsigned i, char uuid[shm::kUuidBytes]);

/// Limits made of the variables alone: as many devices as NVIDIA_VISIBLE_DEVICES (`visible`, may be null) lists, each with its UUID; without a list
/// sixteen with made-up ones. Returns whether the UUIDs are real; otherwise devices must be told by their number.
bool LimitsFromEnvironment(const EnvironmentLimits& environment, const char* visible, shm::LimitsContent* content);

/// Lowers the limits by the variables: fewer cores, the stricter policy, the later priority. Memory is lowered by shm::Limits itself.
void LowerCores(const EnvironmentLimits& environment, shm::LimitsContent* content);

}  // namespace partage::intercept
