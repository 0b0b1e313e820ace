// SPDX-License-Identifier: Apache-2.0
// Every field of both files, and of the packets of the agent's socket, with its place: what the layout hash is made of and docs/region.md is checked against. Compile time only.
#pragma once

#include "shm/agent_socket.h"
#include "shm/layout.h"
#include "shm/limits.h"

namespace partage::shm {

struct Field {
  const char* name;
  std::size_t offset;
  std::size_t size;
  std::size_t repeats;  ///< how many of it follow one another
};

#define PARTAGE_FIELD(type, name, repeats) \
  { #type "." #name, offsetof(type, name), sizeof(type::name) / (repeats), repeats }

inline constexpr Field kRegionFields[] = {
    PARTAGE_FIELD(RegionLayout, header, 1),
    PARTAGE_FIELD(RegionLayout, owners, kMaxProcesses),
    PARTAGE_FIELD(RegionLayout, devices, kMaxDevices),
    PARTAGE_FIELD(RegionLayout, buckets, kMaxDevices),
    PARTAGE_FIELD(RegionLayout, slots, kMaxProcesses),
    PARTAGE_FIELD(RegionHeader, magic, 1),
    PARTAGE_FIELD(RegionHeader, abi, 1),
    PARTAGE_FIELD(RegionHeader, byte_order, 1),
    PARTAGE_FIELD(RegionHeader, layout_hash, 1),
    PARTAGE_FIELD(RegionHeader, size, 1),
    PARTAGE_FIELD(RegionHeader, devices, 1),
    PARTAGE_FIELD(RegionHeader, processes, 1),
    PARTAGE_FIELD(RegionHeader, lanes, 1),
    PARTAGE_FIELD(RegionHeader, classes, 1),
    PARTAGE_FIELD(RegionHeader, next_sweep_ns, 1),
    PARTAGE_FIELD(RegionHeader, sweeps, 1),
    PARTAGE_FIELD(RegionHeader, settled, 1),
    PARTAGE_FIELD(DeviceUsage, used, 1),
    PARTAGE_FIELD(DeviceUsage, last, 1),
    PARTAGE_FIELD(DeviceUsage, refused, 1),
    PARTAGE_FIELD(DeviceUsage, context_cost, 1),
    PARTAGE_FIELD(TokenBucket, spent_ns, 1),
    PARTAGE_FIELD(TokenBucket, granted_ns, 1),
    PARTAGE_FIELD(TokenBucket, refill_stamp_ns, 1),
    PARTAGE_FIELD(TokenBucket, hungry_stamp_ns, 1),
    PARTAGE_FIELD(Slot, settler, 1),
    PARTAGE_FIELD(Slot, image, 1),
    PARTAGE_FIELD(Slot, proc, 1),
    PARTAGE_FIELD(Slot, host_pid, 1),
    PARTAGE_FIELD(Slot, gpu_ns, kMaxDevices),
    PARTAGE_FIELD(Slot, lanes, kLanes),
    PARTAGE_FIELD(Lane, busy, 1),
    PARTAGE_FIELD(Lane, applied, 1),
    PARTAGE_FIELD(Lane, intent, 1),
    PARTAGE_FIELD(Lane, intent_where, 1),
    PARTAGE_FIELD(Lane, intent_count, 1),
    PARTAGE_FIELD(Lane, counts, kMaxDevices* kMemoryClasses),
};

inline constexpr Field kLimitsFields[] = {
    PARTAGE_FIELD(LimitsLayout, magic, 1),
    PARTAGE_FIELD(LimitsLayout, abi, 1),
    PARTAGE_FIELD(LimitsLayout, byte_order, 1),
    PARTAGE_FIELD(LimitsLayout, layout_hash, 1),
    PARTAGE_FIELD(LimitsLayout, size, 1),
    PARTAGE_FIELD(LimitsLayout, sequence, 1),
    PARTAGE_FIELD(LimitsLayout, agent, kMaxDevices),
    PARTAGE_FIELD(LimitsLayout, copies, 2),
    PARTAGE_FIELD(AgentLine, stamp_ns, 1),
    PARTAGE_FIELD(AgentLine, trim_ppm, 1),
    PARTAGE_FIELD(AgentLine, rate_ppm, 1),
    PARTAGE_FIELD(AgentLine, utilisation_ppm, 1),
    PARTAGE_FIELD(AgentLine, nvml_used, 1),
    PARTAGE_FIELD(AgentLine, device_free, 1),
    PARTAGE_FIELD(AgentLine, others_active, 1),
    PARTAGE_FIELD(LimitsCopy, words, sizeof(LimitsContent) / 8),
    PARTAGE_FIELD(LimitsCopy, checksum, 1),
    PARTAGE_FIELD(LimitsContent, devices, 1),
    PARTAGE_FIELD(LimitsContent, policy, 1),
    PARTAGE_FIELD(LimitsContent, priority, 1),
    PARTAGE_FIELD(LimitsContent, device, kMaxDevices),
    PARTAGE_FIELD(DeviceLimits, uuid, kUuidBytes),
    PARTAGE_FIELD(DeviceLimits, memory_bytes, 1),
    PARTAGE_FIELD(DeviceLimits, cores_percent, 1),
    PARTAGE_FIELD(DeviceLimits, flags, 1),
};

// clang-format off
inline constexpr Field kAgentFields[] = {
    PARTAGE_FIELD(AgentRequest, magic, 1),
    PARTAGE_FIELD(AgentRequest, version, 1),
    PARTAGE_FIELD(AgentRequest, wish, 1),
    PARTAGE_FIELD(AgentRequest, limits_abi, 1),
    PARTAGE_FIELD(AgentRequest, region_abi, 1),
    PARTAGE_FIELD(AgentRequest, limits_hash, 1),
    PARTAGE_FIELD(AgentRequest, region_hash, 1),
    PARTAGE_FIELD(AgentRequest, owner, 1),
    PARTAGE_FIELD(AgentRequest, slot, 1),
    PARTAGE_FIELD(AgentReply, magic, 1),
    PARTAGE_FIELD(AgentReply, version, 1),
    PARTAGE_FIELD(AgentReply, answer, 1),
    PARTAGE_FIELD(AgentReply, host_pid, 1),
    PARTAGE_FIELD(AgentReply, reason, sizeof(AgentReply::reason)),
};
// clang-format on

#undef PARTAGE_FIELD

/// 64-bit FNV-1a, a byte at a time.
inline constexpr std::uint64_t kHashStart = 0xCBF2'9CE4'8422'2325;
inline constexpr std::uint64_t kHashPrime = 0x100'0000'01B3;
constexpr std::uint64_t HashByte(std::uint64_t hash, std::uint8_t byte) { return (hash ^ byte) * kHashPrime; }

constexpr std::uint64_t HashWord(std::uint64_t hash, std::uint64_t word) {
  for (unsigned shift = 0; shift < 64; shift += 8) hash = HashByte(hash, static_cast<std::uint8_t>(word >> shift));
  return hash;
}

template <std::size_t kCount>
constexpr std::uint64_t LayoutHash(const Field (&fields)[kCount], std::uint64_t size) {
  std::uint64_t hash = HashWord(kHashStart, size);
  for (const Field& field : fields) {
    for (const char* at = field.name; *at != '\0'; ++at) hash = HashByte(hash, static_cast<std::uint8_t>(*at));
    hash = HashWord(HashWord(HashWord(hash, field.offset), field.size), field.repeats);
  }
  return hash;
}

inline constexpr std::uint64_t kRegionHash = LayoutHash(kRegionFields, sizeof(RegionLayout));
inline constexpr std::uint64_t kLimitsHash = LayoutHash(kLimitsFields, sizeof(LimitsLayout));

}  // namespace partage::shm
