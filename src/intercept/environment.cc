// SPDX-License-Identifier: Apache-2.0
#include "intercept/environment.h"

#include <string.h>
#include <strings.h>

#include "intercept/log.h"
#include "shm/size.h"

namespace partage::intercept {
namespace {

using shm::kMaxDevices;
using shm::kNoLimit;

bool ParseSmall(const char* text, std::uint64_t most, std::uint32_t* value) {
  std::uint64_t number = 0;
  if (!shm::ParseNumber(text, most, &number)) return false;
  *value = static_cast<std::uint32_t>(number);
  return true;
}

/// "0" is HAMi's way to say "no limit".
bool ParseMemory(const char* text, std::uint64_t* bytes) {
  if (!shm::ParseSize(text, bytes)) return false;
  if (*bytes == 0) *bytes = kNoLimit;
  return true;
}

bool ParsePolicy(const char* text, shm::CorePolicy* policy) {
  if (strcasecmp(text, "default") == 0) return *policy = shm::CorePolicy::kDefault, true;
  if (strcasecmp(text, "force") == 0) return *policy = shm::CorePolicy::kForce, true;
  if (strcasecmp(text, "disable") == 0) return *policy = shm::CorePolicy::kDisable, true;
  return false;
}

bool ParseBool(const char* text, bool* value) {
  *value = strcmp(text, "1") == 0 || strcasecmp(text, "true") == 0;
  return *value || strcmp(text, "0") == 0 || strcasecmp(text, "false") == 0;
}

bool ParseOnFault(const char* text, OnFault* on_fault) {
  if (strcmp(text, "pass") == 0) return *on_fault = OnFault::kPass, true;
  if (strcmp(text, "refuse") == 0) return *on_fault = OnFault::kRefuse, true;
  return false;
}

/// Name of a variable for one device, or for all.
struct VariableName {
  VariableName(const char* stem, int device) {
    const size_t length = strlen(stem);
    memcpy(text, stem, length + 1);
    if (device < 0) return;
    char* at = text + length;
    *at++ = '_';
    if (device >= 10) *at++ = '1';
    *at++ = static_cast<char>('0' + device % 10);
    *at = 0;
  }
  char text[48];
};

/// Reads one variable by `parse(text)`; says whether it was set and understood.
template <class Parse>
bool Understood(GetVariable get, const char* name, Parse&& parse) {
  const char* const text = get(name);
  if (text == nullptr || *text == 0) return false;
  if (parse(text)) return true;
  Log(Level::kError, name, "=", text, " is not understood and not used");
  return false;
}

void ReadDevice(GetVariable get, int device, std::uint64_t* memory, std::uint32_t* cores) {
  Understood(get, VariableName("CUDA_DEVICE_MEMORY_LIMIT", device).text, [&](const char* text) { return ParseMemory(text, memory); });
  Understood(get, VariableName("CUDA_DEVICE_SM_LIMIT", device).text, [&](const char* text) {
    if (!ParseSmall(text, 100, cores)) return false;
    if (*cores == 100) *cores = 0;
    return true;
  });
}

}  // namespace

bool EnvironmentLimits::limits_anything() const {
  for (unsigned i = 0; i < kMaxDevices; ++i) {
    if (memory_bytes[i] != kNoLimit || cores_percent[i] != 0) return true;
  }
  return false;
}

EnvironmentLimits ReadEnvironment(GetVariable get) {
  EnvironmentLimits limits;
  std::uint64_t memory = kNoLimit;
  std::uint32_t cores = 0;
  ReadDevice(get, -1, &memory, &cores);
  for (unsigned i = 0; i < kMaxDevices; ++i) {
    limits.memory_bytes[i] = memory;
    limits.cores_percent[i] = cores;
    ReadDevice(get, static_cast<int>(i), &limits.memory_bytes[i], &limits.cores_percent[i]);
  }
  limits.has_policy = Understood(get, "GPU_CORE_UTILIZATION_POLICY", [&](const char* text) { return ParsePolicy(text, &limits.policy); });
  limits.has_priority = Understood(get, "CUDA_TASK_PRIORITY", [&](const char* text) { return ParseSmall(text, 1, &limits.priority); });
  Understood(get, "CUDA_DISABLE_CONTROL", [&](const char* text) { return ParseBool(text, &limits.control_disabled); });
  Understood(get, "PARTAGE_ON_FAULT", [&](const char* text) { return ParseOnFault(text, &limits.on_fault); });
  Understood(get, "PARTAGE_REDIRECT", [&](const char* text) { return limits.redirect_by_copy = strcmp(text, "copy") == 0; });
  Understood(get, "LIBCUDA_LOG_LEVEL", [&](const char* text) {
    std::uint32_t level = 0;
    if (!ParseSmall(text, 4, &level)) return false;
    limits.log_level = static_cast<int>(level);
    return true;
  });
  return limits;
}

bool VisibleUuid(const char* list, unsigned i, char uuid[shm::kUuidBytes]) {
  for (; i > 0; --i) {
    list = strchr(list, ',');
    if (list == nullptr) return false;
    ++list;
  }
  const size_t length = strcspn(list, ",");
  if (length == 0 || length >= shm::kUuidBytes) return false;
  memset(uuid, 0, shm::kUuidBytes);
  memcpy(uuid, list, length);
  unsigned char bytes[16];
  return shm::ParseUuid(uuid, bytes);
}

bool LimitsFromEnvironment(const EnvironmentLimits& environment, const char* visible, shm::LimitsContent* content) {
  unsigned listed = 0;
  while (visible != nullptr && listed < kMaxDevices && VisibleUuid(visible, listed, content->device[listed].uuid)) ++listed;
  content->devices = listed != 0 ? listed : kMaxDevices;
  content->policy = environment.policy;
  content->priority = environment.priority;
  for (unsigned i = 0; i < content->devices; ++i) {
    shm::DeviceLimits& device = content->device[i];
    if (listed == 0) memcpy(device.uuid, "GPU-00000000-0000-0000-0000-000000000000", 41);
    if (listed == 0) device.uuid[39] = "0123456789abcdef"[i];
    device.memory_bytes = environment.memory_bytes[i];
  }
  LowerCores(environment, content);
  return listed != 0;
}

void LowerCores(const EnvironmentLimits& environment, shm::LimitsContent* content) {
  for (unsigned i = 0; i < content->devices; ++i) {
    std::uint32_t& cores = content->device[i].cores_percent;
    const std::uint32_t asked = environment.cores_percent[i];
    if (asked != 0 && (cores == 0 || asked < cores)) cores = asked;
  }
  if (environment.has_policy && environment.policy == shm::CorePolicy::kForce) content->policy = shm::CorePolicy::kForce;
  if (environment.has_priority && environment.priority > content->priority) content->priority = environment.priority;
}

}  // namespace partage::intercept
