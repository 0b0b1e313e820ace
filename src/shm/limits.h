// SPDX-License-Identifier: Apache-2.0
// The limits file: what the node agent (or partage-limits) grants a container. Mapped read-only by its processes; may change while they
// run.
#pragma once

#include <cstdint>

#include "shm/fault.h"
#include "shm/layout.h"
#include "shm/region.h"

namespace partage::shm {

inline constexpr std::uint64_t kLimitsMagic = 0x3154'494d'494c'5450;  ///< "PTLIMIT1"
inline constexpr std::uint32_t kLimitsAbi = 2;
inline constexpr unsigned kUuidBytes = 64;  ///< text as NVML prints it ("GPU-…", "MIG-…"), padded with zeros, the last byte always zero

enum class CorePolicy : std::uint32_t {
  kDefault,  ///< limited only while somebody else wants the GPU
  kForce,    ///< always limited
  kDisable,  ///< never limited
};

enum DeviceFlag : std::uint32_t {
  kSoftCores = 1,      ///< time that others leave idle may be used
  kOversubscribe = 2,  ///< beyond the physical memory the share spills to managed memory
};

/// Plain values. Immutable once written.
struct DeviceLimits {
  char uuid[kUuidBytes] = {};
  std::uint64_t memory_bytes = kNoLimit;  ///< kNoLimit = all of it
  std::uint32_t cores_percent = 0;        ///< 1..100 of the device's time; 0 = not limited
  std::uint32_t flags = 0;                ///< of DeviceFlag
};

struct LimitsContent {
  std::uint32_t devices = 0;  ///< used entries of `device`, in the order of the container's HAMi index
  CorePolicy policy = CorePolicy::kDefault;
  std::uint32_t priority = 1;  ///< 0 goes before 1
  std::uint32_t reserved = 0;
  DeviceLimits device[kMaxDevices];
};

/// Lines the agent writes all the time, each word for itself; zero when there is no agent.
struct alignas(kLine) AgentLine {
  Word stamp_ns;         ///< CLOCK_MONOTONIC of the last write; old or 0 = do not rely on the rest
  Word trim_ppm;         ///< correction of learned costs, 1000000 = none
  Word rate_ppm;         ///< share of the device's time granted at this moment, overrides cores_percent while fresh
  Word utilisation_ppm;  ///< of this container, measured
  Word nvml_used;        ///< bytes the driver says this container uses
  Word device_free;      ///< bytes the driver says the whole device has left
  Word others_active;    ///< containers besides this one that ran kernels lately
  std::byte reserved[kLine - 56];
};
static_assert(sizeof(AgentLine) == kLine);

struct alignas(kLine) LimitsCopy {
  Word words[sizeof(LimitsContent) / 8];  ///< a LimitsContent
  Word checksum;                          ///< FNV-1a with words of 64 bits in the place of bytes
};
static_assert(sizeof(LimitsContent) % 8 == 0);

/// The file. `copies[sequence % 2]` is valid; the writer fills the other one, then counts up: a writer killed at any instruction leaves the
/// old limits.
struct LimitsLayout {
  std::uint64_t magic;
  std::uint32_t abi;
  std::uint32_t byte_order;
  std::uint64_t layout_hash;
  std::uint64_t size;
  Word sequence;
  std::byte reserved[kLine - 40];
  AgentLine agent[kMaxDevices];
  LimitsCopy copies[2];
  std::byte tail[8192 - kLine - kMaxDevices * sizeof(AgentLine) - 2 * sizeof(LimitsCopy)];
};
static_assert(sizeof(LimitsLayout) == 8192);

/// Why the values cannot be limits, as a clause; nullptr when they can: 1..16 devices, each with a UUID of its own, cores ≤ 100, memory
/// above 0, known flags.
const char* FaultIn(const LimitsContent& content);

/// The sixteen bytes of "GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", with MIG- or without a prefix too. False when it is not such a text.
bool ParseUuid(const char* text, unsigned char bytes[16]);
/// Whether both are such texts and their bytes are the same.
bool IsSameUuid(const char* one, const char* other);

/// A process's view of its limits. Open once, then thread-safe; reading takes no lock and no system call.
class Limits {
 public:
  /// Maps the file read-only. All faults of Region::Open; kContent when the checksum or a value is wrong.
  Fault Open(const char* path);
  /// The same file by a descriptor, which is closed in any case. kPermission when it is not open for reading.
  Fault OpenDescriptor(int fd);
  /// Limits without a file. kContent when FaultIn finds something, kUnavailable.
  Fault OpenPrivate(const LimitsContent& content);
  bool is_open() const { return layout_ != nullptr; }

  /// A consistent copy. False, and `content` untouched, when the file has become damaged: keep what you had.
  bool Read(LimitsContent* content) const;
  /// Counts the changes: read again when it differs.
  std::uint64_t Generation() const { return layout_->sequence.load(std::memory_order_acquire); }
  /// The device's memory limit now, lowered by LowerMemory; two loads. REQUIRES: device < kMaxDevices.
  std::uint64_t MemoryBytes(unsigned device) const;
  /// This process's own, lower limit (HAMi's environment). It never raises.
  void LowerMemory(unsigned device, std::uint64_t bytes);
  const AgentLine& agent(unsigned device) const { return layout_->agent[device]; }

  /// Index of the device with these UUID bytes; -1 when the container has no such device. For start-up, not for hot paths.
  int Find(const unsigned char uuid[16]) const;

 private:
  Fault AdoptFile(int fd);
  Fault Adopt(void* mapped);

  const LimitsLayout* layout_ = nullptr;
  Word at_most_[kMaxDevices] = {kNoLimit, kNoLimit, kNoLimit, kNoLimit, kNoLimit, kNoLimit, kNoLimit, kNoLimit,
                                kNoLimit, kNoLimit, kNoLimit, kNoLimit, kNoLimit, kNoLimit, kNoLimit, kNoLimit};
};

/// Writes the file: changes an existing one in place, so that running processes see it, and makes a new one by renaming. One writer at a
/// time (the file is locked). A damaged or foreign file is not touched: its fault is returned. kContent when FaultIn finds something.
Fault WriteLimits(const char* path, const LimitsContent& content);

/// A limits file without a name, for an agent to hand out by descriptor (agent_socket.h). Whoever has the descriptor can read and nothing else: a seal
/// (Linux 5.1) also stops root, who may open anew for writing what he was given for reading. One thread.
class LimitsMemory {
 public:
  LimitsMemory() = default;
  ~LimitsMemory();
  LimitsMemory(const LimitsMemory&) = delete;
  LimitsMemory& operator=(const LimitsMemory&) = delete;

  /// Makes it, once. kContent when FaultIn finds something; kUnavailable: no memory, no descriptor, or a kernel that does not know the seal.
  Fault Make(const LimitsContent& content);
  /// Changes it for all who have it. kContent. REQUIRES: made.
  Fault Write(const LimitsContent& content);
  /// To be sent, not closed. -1 before Make.
  int descriptor() const { return fd_; }

 private:
  LimitsLayout* layout_ = nullptr;
  int fd_ = -1;
};

}  // namespace partage::shm
