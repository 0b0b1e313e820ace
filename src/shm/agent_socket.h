// SPDX-License-Identifier: Apache-2.0
// What a process of a container and the node agent say to each other: one packet each way over a Unix socket (SOCK_SEQPACKET), then the process hangs up.
// The process says which layouts it knows and which slot of the usage file is its own. The agent learns from the kernel who asks (SO_PEERCRED gives the
// process by its number in the agent's own PID namespace, which nobody can forge) and answers with that number and, when asked, with the two files of that
// process's container as descriptors: for containers in which the files cannot be opened by name, or are of another version.
//
// docs/region.md is the protocol for whoever writes an agent.
#pragma once

#include <cstdint>

#include "shm/fault.h"
#include "shm/layout.h"

namespace partage::shm {

inline constexpr std::uint64_t kAgentMagic = 0x3154'4e45'4741'5450;  ///< "PTAGENT1"
inline constexpr std::uint32_t kAgentVersion = 1;

enum class AgentWish : std::uint32_t {
  kNumber,  ///< only its number on the host
  kFiles,   ///< the two files, too
};

enum class AgentAnswer : std::uint32_t {
  kNumber,   ///< host_pid; no descriptors
  kFiles,    ///< host_pid; two descriptors, limits then usage
  kNoShare,  ///< the agent did not give this process's container a share: it does not limit it. No descriptors
  kRefused,  ///< `reason` says why. No descriptors
};

/// Plain values. One packet.
struct AgentRequest {
  std::uint64_t magic = kAgentMagic;
  std::uint32_t version = kAgentVersion;
  AgentWish wish = AgentWish::kNumber;
  std::uint32_t limits_abi = 0;   ///< kLimitsAbi of the process
  std::uint32_t region_abi = 0;   ///< kRegionAbi of the process
  std::uint64_t limits_hash = 0;  ///< kLimitsHash of the process
  std::uint64_t region_hash = 0;  ///< kRegionHash of the process
  std::uint64_t owner = 0;        ///< its key in RegionLayout::owners; 0 = it has no slot yet
  std::uint32_t slot = 0;         ///< where the key stands; says nothing when `owner` is 0
  std::uint32_t reserved = 0;
};

/// What a process with this library asks: the layouts are those that it knows.
AgentRequest RequestFor(AgentWish wish);

struct AgentReply {
  std::uint64_t magic = kAgentMagic;
  std::uint32_t version = kAgentVersion;
  AgentAnswer answer = AgentAnswer::kRefused;
  std::uint64_t host_pid = 0;  ///< 0 = the agent cannot see the process (it runs in a PID namespace beside that of the container)
  char reason[104] = {};       ///< of kRefused, a clause; zero-terminated
};

/// Descriptors out of an answer, closed on exec; -1: none. They are the receiver's to close.
struct AgentFiles {
  int limits = -1;
  int usage = -1;
  void Close();
};

/// Asks the agent that listens at `path`, as this library of this version; `owner` and `slot` as in AgentRequest. Waits `wait_ns` at most, whatever happens to
/// the agent; with kFiles, which a process cannot do without, also for an agent that is just being started again. No signal, no cancellation point, errno
/// unchanged. Thread-safe.
/// kNone: `reply` and, with kFiles, `files` hold the answer (a kRefused one, too). kMissing: there is no socket. kPermission. kSilent: nobody answered in time.
/// kAnswer: what came is not an answer to this question. kUnavailable: no descriptor was left.
Fault AskAgent(const char* path, AgentWish wish, std::uint64_t owner, unsigned slot, std::uint64_t wait_ns, AgentReply* reply,
               AgentFiles* files);

}  // namespace partage::shm
