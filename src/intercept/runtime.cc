// SPDX-License-Identifier: Apache-2.0
#include "intercept/runtime.h"

#include <errno.h>
#include <stdlib.h>

#include "intercept/devices.h"
#include "intercept/environment.h"
#include "intercept/loader/driver.h"
#include "intercept/lock.h"
#include "intercept/log.h"
#include "shm/agent_socket.h"

// What pthread_atfork calls, which is not itself in every libc.so.6. The library is never unloaded, so it names no object.
extern "C" int __register_atfork(void (*prepare)(), void (*parent)(), void (*child)(), void* object);

namespace partage::intercept {

int g_state = static_cast<int>(State::kDormant);
__thread int t_depth = 0;

namespace {

// Where the node agent puts the files of a container. What lies there cannot be overruled by the environment.
constexpr const char* kLimitsPath = "/run/partage/limits";
constexpr const char* kUsagePath = "/run/partage/usage";
constexpr const char* kAgentPath = "/run/partage/agent.sock";

// Without its files a process cannot begin, and an agent that is being replaced is away for a moment: it is waited for. Without its number on the host a
// process can, and only an agent that listens and hangs makes it wait.
constexpr std::uint64_t kFilesWaitNs = 2'000'000'000;
constexpr std::uint64_t kNumberWaitNs = 1'000'000'000;

// Without an agent the processes of a container still find each other.
constexpr const char* kUsagePathWithoutAgent = "/tmp/partage.usage";

ForkLock g_lock;  // of Activate and of taking a slot
shm::Limits g_limits;
shm::Region g_region;
EnvironmentLimits g_environment;
std::atomic<bool> g_has_slot{false};
bool g_has_agent = false;  // the files are the agent's
bool g_refuses = false;    // what cannot be accounted for

const char* Variable(const char* name) { return secure_getenv(name); }

/// A variable that names a file; null also when it is empty.
const char* PathVariable(const char* name) {
  const char* const path = Variable(name);
  return path != nullptr && *path != 0 ? path : nullptr;
}

/// Where the process stands with the files.
struct Files {
  Files() = default;
  ~Files() { handed.Close(); }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  bool agents = false;  // they are the agent's: what lies there the environment cannot overrule
  bool broken = false;  // a limits file is there, or was named, that cannot be used
  const char* limits = "the variables";
  const char* usage = nullptr;
  bool asked = false;      // the agent, for the files
  shm::AgentFiles handed;  // what it gave

  /// Whether what cannot be accounted for is refused.
  bool refuse() const { return g_environment.on_fault == OnFault::kRefuse || (agents && g_environment.on_fault == OnFault::kDefault); }
};

/// Why there is no answer of the agent's to go by, or none that helps.
const char* WhyNot(shm::Fault fault, const shm::AgentReply& reply) {
  if (fault != shm::Fault::kNone) return shm::Describe(fault);
  return reply.answer == shm::AgentAnswer::kNoShare ? "it gave this container no share" : &reply.reason[0];
}

bool CannotUse(Files* files, const char* path, const char* why) {
  files->broken = true;
  Log(Level::kError, "cannot use ", path, ": ", why, files->refuse() ? "; memory is refused" : "");
  return false;
}

/// Asks the agent, once, to hand over the files that cannot be opened by name. False: there is no agent, it does not limit this container, or it cannot be
/// asked (then `broken`).
bool AskForFiles(Files* files) {
  if (files->asked) return files->handed.usage >= 0;
  files->asked = true;
  shm::AgentReply reply;
  const shm::Fault fault = shm::AskAgent(kAgentPath, shm::AgentWish::kFiles, 0, 0, kFilesWaitNs, &reply, &files->handed);
  if (fault == shm::Fault::kMissing || (fault == shm::Fault::kNone && reply.answer == shm::AgentAnswer::kNoShare)) return false;
  files->agents = true;
  return (fault == shm::Fault::kNone && reply.answer == shm::AgentAnswer::kFiles) || CannotUse(files, kAgentPath, WhyNot(fault, reply));
}

/// Opens the limits that the agent hands over.
bool OpenHandedLimits(Files* files) {
  if (!AskForFiles(files)) return false;
  const shm::Fault fault = g_limits.OpenDescriptor(files->handed.limits);
  files->handed.limits = -1;
  if (fault != shm::Fault::kNone) return CannotUse(files, kAgentPath, shm::Describe(fault));
  return files->limits = kAgentPath, true;
}

/// Opens a limits file, by name or as the agent hands it over. False: there is none that can be used.
bool OpenLimitsFile(Files* files) {
  const shm::Fault fault = g_limits.Open(kLimitsPath);
  files->agents = fault != shm::Fault::kMissing;
  if (fault == shm::Fault::kNone) return files->limits = kLimitsPath, true;
  if (OpenHandedLimits(files)) return true;
  if (files->agents && fault != shm::Fault::kMissing) return CannotUse(files, kLimitsPath, shm::Describe(fault));
  const char* const path = PathVariable("PARTAGE_LIMITS");
  if (files->agents || path == nullptr) return false;
  const shm::Fault named = g_limits.Open(path);
  return named == shm::Fault::kNone ? (files->limits = path, true) : CannotUse(files, path, shm::Describe(named));
}

/// Limits under which nothing fits, for whichever device.
bool OpenLimitsThatRefuse() {
  EnvironmentLimits nothing = g_environment;
  for (std::uint64_t& bytes : nothing.memory_bytes) bytes = 1;
  shm::LimitsContent content;
  LimitsFromEnvironment(nothing, nullptr, &content);
  devices::TellByNumber(true);
  return g_limits.OpenPrivate(content) == shm::Fault::kNone;
}

bool OpenLimits(Files* files) {
  if (OpenLimitsFile(files)) {
    for (unsigned i = 0; i < shm::kMaxDevices; ++i) g_limits.LowerMemory(i, g_environment.memory_bytes[i]);
    return true;
  }
  if (files->broken && files->refuse()) return OpenLimitsThatRefuse();
  if (g_environment.control_disabled || !g_environment.limits_anything()) return false;
  shm::LimitsContent content;
  if (!LimitsFromEnvironment(g_environment, Variable("NVIDIA_VISIBLE_DEVICES"), &content))
    devices::TellByNumber(Variable("CUDA_VISIBLE_DEVICES") == nullptr);
  return g_limits.OpenPrivate(content) == shm::Fault::kNone;
}

/// Whether some device's memory or time is less than the whole.
bool LimitsAnything() {
  shm::LimitsContent content;
  if (!ReadLimits(&content)) return false;
  for (unsigned i = 0; i < content.devices; ++i) {
    const std::uint32_t cores = content.device[i].cores_percent;
    if (g_limits.MemoryBytes(i) != shm::kNoLimit || (cores != 0 && cores < 100)) return true;
  }
  return false;
}

/// All processes of the container share a file where they can agree on one; otherwise each process is held to the limits by itself, or refused.
void OpenRegion(Files* files) {
  const char* path = files->agents ? kUsagePath : PathVariable("PARTAGE_USAGE");
  if (path == nullptr) path = PathVariable("CUDA_DEVICE_MEMORY_SHARED_CACHE");
  const bool wanted = path != nullptr || files->refuse();
  if (path == nullptr) path = kUsagePathWithoutAgent;
  shm::Fault fault = files->handed.usage >= 0 ? shm::Fault::kMissing : g_region.OpenOrCreate(path);
  if (fault != shm::Fault::kNone && files->agents && AskForFiles(files)) {
    path = kAgentPath;
    fault = g_region.OpenDescriptor(files->handed.usage);
    files->handed.usage = -1;
  }
  files->usage = path;
  if (fault == shm::Fault::kNone) return;
  files->usage = "none";
  Log(wanted || fault != shm::Fault::kMissing ? Level::kWarning : Level::kInfo, "cannot use ", path, ": ", shm::Describe(fault),
      files->refuse() ? "; memory is refused" : "; this process is limited by itself");
  if (files->refuse()) {
    g_region.OpenRefusing();
  } else {
    g_region.OpenPrivate();
  }
}

void OnForkedChild() {
  g_has_slot.store(false, std::memory_order_relaxed);
  if (g_region.is_open()) g_region.AfterFork();
  t_depth = 0;
  if (memory::OnForkedChild != nullptr) memory::OnForkedChild();
  if (limiter::OnForkedChild != nullptr) limiter::OnForkedChild();
}

State Decide() {
  g_environment = ReadEnvironment(Variable);
  SetLogLevel(g_environment.log_level);
  Files files;
  if (!OpenLimits(&files) || !LimitsAnything()) {
    Log(Level::kInfo, "nothing is limited");
    return State::kBypass;
  }
  OpenRegion(&files);
  g_has_agent = files.agents;
  g_refuses = files.refuse();
  Log(Level::kInfo, "limits: ", files.limits, "; usage: ", files.usage);
  if (g_environment.redirect_by_copy) loader::RedirectByCopyOnly();
  if (!g_region.is_open()) {
    Log(Level::kError, "no memory for accounting; this process is not limited");
    return State::kBypass;
  }
  __register_atfork(nullptr, nullptr, OnForkedChild, nullptr);
  if (memory::OnActive != nullptr) memory::OnActive();
  if (limiter::OnActive != nullptr) limiter::OnActive();
  return State::kActive;
}

/// Tells the agent which slot is whose; it sees by itself who asks, and answers by which number the driver knows this process.
void TellAgent() {
  shm::AgentReply reply;
  shm::AgentFiles none;
  const unsigned slot = g_region.slot();
  const std::uint64_t owner = g_region.layout().owners[slot].load(std::memory_order_relaxed);
  const shm::Fault fault = shm::AskAgent(kAgentPath, shm::AgentWish::kNumber, owner, slot, kNumberWaitNs, &reply, &none);
  if (fault == shm::Fault::kNone && reply.answer == shm::AgentAnswer::kNumber) return g_region.SetHostPid(reply.host_pid);
  Log(Level::kInfo, "the node agent does not say which process this is on the host: ", kAgentPath, ": ", WhyNot(fault, reply));
}

bool TakeSlot() {
  const Locked locked(g_lock);
  if (g_has_slot.load(std::memory_order_relaxed)) return true;
  const shm::Fault fault = g_region.Claim();
  static bool told = false;
  if (fault != shm::Fault::kNone && !told && !g_region.refuses())  // that was told
    Log(Level::kError, "no place in the usage file: ", shm::Describe(fault), "; allocations are refused");
  told = fault != shm::Fault::kNone;
  if (fault == shm::Fault::kNone && g_has_agent) TellAgent();
  g_has_slot.store(fault == shm::Fault::kNone, std::memory_order_release);
  return fault == shm::Fault::kNone;
}

}  // namespace

bool Activate() {
  const int error = errno;
  {
    const Locked locked(g_lock);
    if (g_state == static_cast<int>(State::kDormant)) __atomic_store_n(&g_state, static_cast<int>(Decide()), __ATOMIC_RELEASE);
  }
  const bool active = g_state == static_cast<int>(State::kActive);
  // A program linked with the driver has it in memory already, where the rest of the program may look things up from now on.
  if (active) loader::Arm(loader::Library::kCuda, true, true);
  if (active) loader::Arm(loader::Library::kNvml, true, true);
  errno = error;
  return active;
}

bool RefusesOnFault() { return g_refuses; }

bool HasSlot() { return g_has_slot.load(std::memory_order_acquire) || TakeSlot(); }

std::uint64_t MemoryLimit(int index) { return g_limits.MemoryBytes(static_cast<unsigned>(index)); }

std::uint64_t MemoryUsed(int index) { return g_region.Used(static_cast<unsigned>(index)); }

bool Reserve(int index, shm::MemoryClass kind, std::uint64_t bytes) {
  return HasSlot() && g_region.Reserve(static_cast<unsigned>(index), kind, bytes, MemoryLimit(index));
}

void Charge(int index, shm::MemoryClass kind, std::uint64_t bytes) {
  if (HasSlot()) g_region.Reserve(static_cast<unsigned>(index), kind, bytes, shm::kNoLimit);
}

void Refund(int index, shm::MemoryClass kind, std::uint64_t bytes) {
  if (HasSlot()) g_region.Refund(static_cast<unsigned>(index), kind, bytes);
}

bool ReadLimits(shm::LimitsContent* content) {
  if (!g_limits.Read(content)) return false;
  LowerCores(g_environment, content);
  return true;
}

const shm::Limits& limits() { return g_limits; }

shm::Region& region() { return g_region; }

namespace {

CUresult NoCudaFunction() { return CUDA_ERROR_NOT_FOUND; }
CUresult NoCudaDriver() { return CUDA_ERROR_NO_DEVICE; }
nvmlReturn_t NoNvmlFunction() { return NVML_ERROR_FUNCTION_NOT_FOUND; }
nvmlReturn_t NoNvmlDriver() { return NVML_ERROR_LIBRARY_NOT_FOUND; }

}  // namespace

void* ResolveReal(Row row) {
  const bool nvml = row >= Row::kFirstNvml;
  const bool armed = loader::Arm(nvml ? loader::Library::kNvml : loader::Library::kCuda, Active(), false);
  void* const address = __atomic_load_n(&g_real[static_cast<unsigned>(row)], __ATOMIC_ACQUIRE);
  if (address != nullptr) return address;
  if (nvml) return reinterpret_cast<void*>(armed ? &NoNvmlFunction : &NoNvmlDriver);
  return reinterpret_cast<void*>(armed ? &NoCudaFunction : &NoCudaDriver);
}

}  // namespace partage::intercept
