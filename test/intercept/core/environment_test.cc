// SPDX-License-Identifier: Apache-2.0
#include "intercept/environment.h"

#include <catch2/catch.hpp>

#include <map>
#include <string>

namespace partage::intercept {
namespace {

std::map<std::string, std::string> g_variables;

const char* Get(const char* name) {
  const auto found = g_variables.find(name);
  return found != g_variables.end() ? found->second.c_str() : nullptr;
}

EnvironmentLimits Read(std::map<std::string, std::string> variables) {
  g_variables = std::move(variables);
  return ReadEnvironment(Get);
}

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
const std::string kFirst = "GPU-11111111-1111-1111-1111-111111111111";
const std::string kSecond = "GPU-22222222-2222-2222-2222-222222222222";

}  // namespace

TEST_CASE("No variable, no limit") {
  const EnvironmentLimits limits = Read({});
  CHECK_FALSE(limits.limits_anything());
  CHECK_FALSE(limits.has_policy);
  CHECK_FALSE(limits.has_priority);
  CHECK(limits.log_level == 2);
}

TEST_CASE("The plain variables hold for every device that has none of its own") {
  const EnvironmentLimits limits = Read({{"CUDA_DEVICE_MEMORY_LIMIT", "3000m"},
                                         {"CUDA_DEVICE_MEMORY_LIMIT_1", "1.5g"},
                                         {"CUDA_DEVICE_MEMORY_LIMIT_15", "8GiB"},
                                         {"CUDA_DEVICE_SM_LIMIT", "30"},
                                         {"CUDA_DEVICE_SM_LIMIT_2", "60"}});
  CHECK(limits.memory_bytes[0] == 3000ULL << 20);
  CHECK(limits.memory_bytes[1] == kGiB + kGiB / 2);
  CHECK(limits.memory_bytes[15] == 8 * kGiB);
  CHECK(limits.cores_percent[0] == 30);
  CHECK(limits.cores_percent[2] == 60);
  CHECK(limits.limits_anything());
}

TEST_CASE("HAMi's ways to say no limit are understood") {
  CHECK_FALSE(Read({{"CUDA_DEVICE_MEMORY_LIMIT", "0m"}, {"CUDA_DEVICE_SM_LIMIT", "0"}}).limits_anything());
  CHECK_FALSE(Read({{"CUDA_DEVICE_SM_LIMIT", "100"}}).limits_anything());
  CHECK_FALSE(Read({{"CUDA_DEVICE_MEMORY_LIMIT", ""}}).limits_anything());
}

TEST_CASE("What is not understood completely counts as not set") {
  for (const char* memory : {"8gigs", "1.5", "-1g", "0x40000000", "g", " 1g"}) {
    INFO(memory);
    CHECK_FALSE(Read({{"CUDA_DEVICE_MEMORY_LIMIT", memory}}).limits_anything());
  }
  for (const char* cores : {"101", "-5", "30%", "3O"}) {
    INFO(cores);
    CHECK_FALSE(Read({{"CUDA_DEVICE_SM_LIMIT", cores}}).limits_anything());
  }
  CHECK_FALSE(Read({{"GPU_CORE_UTILIZATION_POLICY", "often"}}).has_policy);
  CHECK_FALSE(Read({{"CUDA_TASK_PRIORITY", "2"}}).has_priority);
  CHECK_FALSE(Read({{"PARTAGE_REDIRECT", "Copy"}}).redirect_by_copy);
  CHECK(Read({{"PARTAGE_ON_FAULT", "maybe"}}).on_fault == OnFault::kDefault);
}

TEST_CASE("Policy, priority, log level and the switch are read in any case that HAMi takes") {
  const EnvironmentLimits limits = Read({{"GPU_CORE_UTILIZATION_POLICY", "FORCE"},
                                         {"CUDA_TASK_PRIORITY", "0"},
                                         {"LIBCUDA_LOG_LEVEL", "4"},
                                         {"PARTAGE_REDIRECT", "copy"},
                                         {"CUDA_DISABLE_CONTROL", "True"}});
  CHECK(limits.policy == shm::CorePolicy::kForce);
  CHECK((limits.has_priority && limits.priority == 0));
  CHECK(limits.log_level == 4);
  CHECK(limits.control_disabled);
  CHECK(limits.redirect_by_copy);
}

TEST_CASE("Limits from the variables alone belong to the UUIDs of NVIDIA_VISIBLE_DEVICES, in their order") {
  const EnvironmentLimits limits = Read({{"CUDA_DEVICE_MEMORY_LIMIT_0", "1g"}, {"CUDA_DEVICE_MEMORY_LIMIT_1", "2g"}});
  shm::LimitsContent content;
  CHECK(LimitsFromEnvironment(limits, (kSecond + "," + kFirst).c_str(), &content));
  REQUIRE(content.devices == 2);
  CHECK(content.device[0].uuid == kSecond);
  CHECK(content.device[0].memory_bytes == kGiB);
  CHECK(content.device[1].uuid == kFirst);
  CHECK(content.device[1].memory_bytes == 2 * kGiB);
  CHECK(shm::FaultIn(content) == nullptr);
}

TEST_CASE("Without a list of UUIDs there are sixteen devices, told by number, and still valid limits") {
  const EnvironmentLimits limits = Read({{"CUDA_DEVICE_MEMORY_LIMIT", "1g"}, {"CUDA_DEVICE_SM_LIMIT", "25"}});
  for (const char* visible : {"all", "0,1", "", "void", static_cast<const char*>(nullptr)}) {
    shm::LimitsContent content;
    CHECK_FALSE(LimitsFromEnvironment(limits, visible, &content));
    CHECK(content.devices == 16);
    CHECK(content.device[15].memory_bytes == kGiB);
    CHECK(content.device[15].cores_percent == 25);
    CHECK(shm::FaultIn(content) == nullptr);
  }
}

TEST_CASE("Over limits of the agent the variables can only lower") {
  shm::LimitsContent content;
  content.devices = 3;
  content.device[0].cores_percent = 30;
  content.device[1].cores_percent = 60;
  content.device[2].cores_percent = 0;
  LowerCores(Read({{"CUDA_DEVICE_SM_LIMIT", "50"}, {"GPU_CORE_UTILIZATION_POLICY", "disable"}, {"CUDA_TASK_PRIORITY", "0"}}), &content);
  CHECK(content.device[0].cores_percent == 30);
  CHECK(content.device[1].cores_percent == 50);
  CHECK(content.device[2].cores_percent == 50);
  CHECK(content.policy == shm::CorePolicy::kDefault);
  CHECK(content.priority == 1);

  content.priority = 0;
  LowerCores(Read({{"GPU_CORE_UTILIZATION_POLICY", "force"}, {"CUDA_TASK_PRIORITY", "1"}}), &content);
  CHECK(content.policy == shm::CorePolicy::kForce);
  CHECK(content.priority == 1);
}

}  // namespace partage::intercept
