// SPDX-License-Identifier: Apache-2.0
// Processes whose limits are a node agent's, as they meet it: /run/partage in a mount namespace of their own, libpartage.so preloaded over the fake driver.
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "shm/clock.h"
#include "shm/layout_fields.h"
#include "test/support/fake_agent.h"
#include "test/support/libcuda/client.h"
#include "test/support/libcuda/linked.h"
#include "test/support/skip.h"
#include "test/support/temp_folder.h"

namespace partage::intercept {

namespace {

namespace fs = std::filesystem;
using test::AgentManner;
using test::Child;
using test::Expect;
using test::FakeAgent;

constexpr std::uint64_t kMiB = 1U << 20;
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::size_t kWhole = 16384;  // MiB
constexpr int kNotAllowed = 77;
const std::string kUuid = "GPU-11111111-1111-1111-1111-111111111111";

shm::LimitsContent Share(std::uint64_t mib) {
  shm::LimitsContent limits;
  limits.devices = 1;
  std::strcpy(limits.device[0].uuid, kUuid.c_str());
  limits.device[0].memory_bytes = mib == 0 ? shm::kNoLimit : mib * kMiB;
  return limits;
}

std::string TextOf(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A container on a node with a GPU of 16 GiB, and the folder that the agent mounts at its /run/partage.
class Container {
 public:
  Container() {
    REQUIRE(::chmod(folder_.path().c_str(), 0755) == 0);
    fs::create_directory(mounted());
  }

  std::string mounted() const { return folder_.path() + "/partage"; }
  std::string limits() const { return mounted() + "/limits"; }
  std::string usage() const { return mounted() + "/usage"; }
  const test::TempFolder& folder() const { return folder_; }

  Container& Set(const std::string& name, const std::string& value) {
    environment_[name] = value;
    return *this;
  }
  /// Sees the agent's folder as one that cannot be written.
  Container& ReadOnly() {
    read_only_ = true;
    return *this;
  }

  /// Runs `body` as a process of the container. False, too, where it may not be made.
  template <class Body>
  bool Run(Body body) {
    const std::uint64_t before = shm::MonotonicNs();
    said_.clear();
    Child::Environment environment = environment_;
    environment["FAKE_CUDA"] = "device uuid=" + kUuid + " memory=16G";
    const std::string err = folder_.path() + "/said";
    Child child(environment, [&] {
      if (!Enter()) _exit(kNotAllowed);
      Expect(dup2(open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0666), STDERR_FILENO) == STDERR_FILENO);
      body();
    });
    const bool good = child.Good();
    took_ns_ = shm::MonotonicNs() - before;
    said_ = TextOf(err);
    INFO(said_);
    if (!good) WARN("in the container: " << said_);
    return good;
  }

  /// Whether this machine lets us make one.
  static bool Allowed() {
    Child probe({}, [] { _exit(MakeNamespaces() ? 0 : kNotAllowed); });
    const bool allowed = probe.Good();
    if (!allowed) test::Skipped("mount namespaces are not allowed here");
    return allowed;
  }

  const std::string& said() const { return said_; }
  std::uint64_t took_ns() const { return took_ns_; }

 private:
  static bool MakeNamespaces() {
    if (::unshare(CLONE_NEWNS) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 && ::mount("tmpfs", "/run", "tmpfs", 0, nullptr) == 0;
  }

  bool Enter() const {
    if (!MakeNamespaces()) return false;
    Expect(::mkdir("/run/partage", 0755) == 0);
    Expect(::mount(mounted().c_str(), "/run/partage", nullptr, MS_BIND, nullptr) == 0);
    if (read_only_) Expect(::mount(nullptr, "/run/partage", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0);
    return true;
  }

  test::TempFolder folder_;
  Child::Environment environment_ = {{"LIBCUDA_LOG_LEVEL", "3"}};
  bool read_only_ = false;
  std::string said_;
  std::uint64_t took_ns_ = 0;
};

/// Most of what follows needs them.
#define NEEDS_CONTAINERS() \
  if (!Container::Allowed()) return

CUdeviceptr Allocate(std::uint64_t mib) {
  CUdeviceptr pointer = 0;
  Expect(cuMemAlloc_v2(&pointer, mib * kMiB) == CUDA_SUCCESS);
  return pointer;
}

void UseDevice() {
  CUcontext context = nullptr;
  Expect(cuInit(0) == CUDA_SUCCESS);
  Expect(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS && cuCtxSetCurrent(context) == CUDA_SUCCESS);
}

std::size_t Total() {
  std::size_t free = 0, total = 0;
  Expect(cuMemGetInfo_v2(&free, &total) == CUDA_SUCCESS);
  return total / kMiB;
}

/// A process of the container that holds memory, and may be told so.
void ExpectShare(std::size_t mib) {
  UseDevice();
  Expect(Total() == mib);
  Allocate(10);
  CUdeviceptr pointer = 0;
  Expect(cuMemAlloc_v2(&pointer, mib * kMiB) == CUDA_ERROR_OUT_OF_MEMORY);
}

void ExpectRefused() {
  UseDevice();
  CUdeviceptr pointer = 0;
  Expect(cuMemAlloc_v2(&pointer, 4096) == CUDA_ERROR_OUT_OF_MEMORY);
}

/// The host's number that the container's usage file has for its process `pid`; -1: no such process.
std::int64_t HostPidOf(const shm::Region& region, std::uint64_t pid) {
  for (unsigned i = 0; i < shm::kMaxProcesses; ++i) {
    if (shm::PidOf(region.layout().owners[i].load()) == pid) return static_cast<std::int64_t>(region.layout().slots[i].host_pid.load());
  }
  return -1;
}

std::int64_t OwnHostPid() {
  shm::Region region;
  Expect(region.OpenReadOnly("/run/partage/usage") == shm::Fault::kNone);
  return HostPidOf(region, static_cast<std::uint64_t>(getpid()));
}

/// "NUMBER is WHAT" for each descriptor.
std::set<std::string> OpenFiles() {
  std::set<std::string> open;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // the directory's own
    const fs::path target = fs::read_symlink(entry.path(), gone);
    if (!gone && target.string().find("/fd") == std::string::npos) open.insert(entry.path().filename().string() + " is " + target.string());
  }
  return open;
}

/// Runs `body` as process 1 of a PID namespace.
template <class Body>
void InPidNamespace(Body body) {
  if (::unshare(CLONE_NEWPID) != 0) _exit(kNotAllowed);
  Child inner({}, [&] {
    Expect(getpid() == 1 && ::mount("proc", "/proc", "proc", 0, nullptr) == 0);
    body();
  });
  Expect(inner.Good());
}

}  // namespace

TEST_CASE("The agent's files hold whatever the variables say, and its usage file is the container's") {
  NEEDS_CONTAINERS();
  Container container;
  REQUIRE(shm::WriteLimits(container.limits().c_str(), Share(1024)) == shm::Fault::kNone);
  const std::string generous = container.folder().path() + "/generous";
  REQUIRE(shm::WriteLimits(generous.c_str(), Share(8192)) == shm::Fault::kNone);
  container.Set("PARTAGE_LIMITS", generous).Set("PARTAGE_USAGE", container.folder().path() + "/mine").Set("CUDA_DISABLE_CONTROL", "true");
  container.Set("CUDA_DEVICE_MEMORY_LIMIT", "4g").Set("CUDA_DEVICE_MEMORY_SHARED_CACHE", container.folder().path() + "/cache");
  CHECK(container.Run([] { ExpectShare(1024); }));
  CHECK(container.said() ==
        "[partage] limits: /run/partage/limits; usage: /run/partage/usage\n"
        "[partage] the node agent does not say which process this is on the host: /run/partage/agent.sock: there is no such file or "
        "folder\n");
  CHECK(fs::exists(container.usage()));
  CHECK_FALSE(fs::exists(container.folder().path() + "/mine"));
  container.Set("CUDA_DEVICE_MEMORY_LIMIT", "512m");
  CHECK(container.Run([] { ExpectShare(512); }));
}

TEST_CASE("A limits file of the agent's that cannot be used refuses memory, unless the container is told to pass") {
  NEEDS_CONTAINERS();
  Container container;
  container.folder().Write("partage/limits", std::string(8192, 'x'));
  CHECK(container.Run(ExpectRefused));
  CHECK_THAT(container.said(),
             Catch::StartsWith("[partage] cannot use /run/partage/limits: it is not a Partage file of this kind; memory is refused\n"));
  container.Set("PARTAGE_ON_FAULT", "pass").Set("CUDA_DEVICE_MEMORY_LIMIT", "512m");
  CHECK(container.Run([] { ExpectShare(512); }));
}

TEST_CASE("The agent tells a process by which number the host knows it, in whatever PID namespace it is") {
  NEEDS_CONTAINERS();
  Container container;
  REQUIRE(shm::WriteLimits(container.limits().c_str(), Share(1024)) == shm::Fault::kNone);
  const FakeAgent agent(container.mounted(), Share(2048));
  CHECK(container.Run([] {
    ExpectShare(1024);
    Expect(OwnHostPid() == getpid());
  }));
  CHECK(container.said() == "[partage] limits: /run/partage/limits; usage: /run/partage/usage\n");
  REQUIRE(agent.callers().size() == 1);
  CHECK(agent.callers()[0].request.wish == shm::AgentWish::kNumber);

  CHECK(container.Run([] {
    InPidNamespace([] {
      ExpectShare(1024);
      Expect(OwnHostPid() > 1);
    });
  }));
  REQUIRE(agent.callers().size() == 2);
  const FakeAgent::Caller inner = agent.callers()[1];
  CHECK(inner.pid != 1);
  CHECK(shm::PidOf(inner.request.owner) == 1);
  CHECK(inner.request.slot < shm::kMaxProcesses);
}

TEST_CASE("A process that knows its number on the host finds itself among NVML's") {
  NEEDS_CONTAINERS();
  Container container;
  REQUIRE(shm::WriteLimits(container.limits().c_str(), Share(1024)) == shm::Fault::kNone);
  FakeAgent agent(container.mounted(), Share(1024));
  const auto see_itself = [](bool told) {
    InPidNamespace([told] {
      shm::AgentReply reply;
      shm::AgentFiles none;
      Expect(shm::AskAgent("/run/partage/agent.sock", shm::AgentWish::kNumber, 0, 0, kSecond, &reply, &none) == shm::Fault::kNone);
      const std::string shift = std::to_string(told ? reply.host_pid - 1 : 1000);
      setenv("FAKE_CUDA", (std::string(getenv("FAKE_CUDA")) + "; host_pids offset " + shift).c_str(), 1);
      UseDevice();
      CUmodule module = nullptr;
      CUfunction function = nullptr;
      Expect(cuModuleLoadData(&module, "any image") == CUDA_SUCCESS && cuModuleGetFunction(&function, module, "spin_20ms") == CUDA_SUCCESS);
      for (int i = 0; i < 20; ++i) Expect(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr) == CUDA_SUCCESS);
      Expect(cuCtxSynchronize() == CUDA_SUCCESS);
      nvmlDevice_t device = nullptr;
      nvmlProcessUtilizationSample_t samples[8] = {};
      unsigned count = 8;
      Expect(nvmlInit_v2() == NVML_SUCCESS && nvmlDeviceGetHandleByIndex_v2(0, &device) == NVML_SUCCESS);
      Expect(nvmlDeviceGetProcessUtilization(device, samples, &count, 0) == (told ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND));
      if (told) Expect(count == 1 && samples[0].pid == 1);  // by its number in the container
    });
  };
  CHECK(container.Run([&] { see_itself(true); }));
  CHECK(container.Run([&] { see_itself(false); }));  // NVML numbers that belong to nobody here
}

TEST_CASE("executed anew", "[.child]") {
  UseDevice();
  Allocate(1);
  Expect(OwnHostPid() == getpid());
}

TEST_CASE("Children that a program forks, and what it executes, are told their own numbers") {
  NEEDS_CONTAINERS();
  Container container;
  REQUIRE(shm::WriteLimits(container.limits().c_str(), Share(1024)) == shm::Fault::kNone);
  const FakeAgent agent(container.mounted(), Share(1024));
  CHECK(container.Run([] {
    nvmlDevice_t device = nullptr;
    nvmlMemory_t memory{};
    Expect(nvmlInit_v2() == NVML_SUCCESS && nvmlDeviceGetHandleByIndex_v2(0, &device) == NVML_SUCCESS);
    Expect(nvmlDeviceGetMemoryInfo(device, &memory) == NVML_SUCCESS && memory.total == 1024 * kMiB);  // from here on it is limited
    Child forked({}, [] {
      UseDevice();
      Allocate(1);
      Expect(OwnHostPid() == getpid());
    });
    Expect(forked.Good());
    UseDevice();
    Allocate(1);
    Expect(OwnHostPid() == getpid());
    execl("/proc/self/exe", "again", "executed anew", nullptr);
    Expect(false);
  }));
  const auto callers = agent.callers();
  REQUIRE(callers.size() == 3);
  CHECK(callers[0].pid != callers[1].pid);
  CHECK(callers[1].pid == callers[2].pid);
  CHECK(callers[0].request.owner != callers[1].request.owner);
}

TEST_CASE("Limits without a file are handed over by the agent, shared by the container and changed while it runs") {
  NEEDS_CONTAINERS();
  Container container;
  FakeAgent agent(container.mounted(), Share(1024));
  const std::string generous = container.folder().path() + "/generous";
  REQUIRE(shm::WriteLimits(generous.c_str(), Share(8192)) == shm::Fault::kNone);
  container.Set("PARTAGE_LIMITS", generous).Set("PARTAGE_USAGE", container.folder().path() + "/mine").Set("CUDA_DISABLE_CONTROL", "true");
  int first_holds[2];
  REQUIRE(pipe(first_holds) == 0);
  CHECK(container.Run([&] {
    Child second({}, [&] {
      char byte = 0;
      CUdeviceptr pointer = 0;
      Expect(read(first_holds[0], &byte, 1) == 1);
      UseDevice();
      Allocate(400);
      Expect(cuMemAlloc_v2(&pointer, 100 * kMiB) == CUDA_ERROR_OUT_OF_MEMORY);
    });
    UseDevice();
    Expect(Total() == 1024);
    Allocate(600);
    Expect(OwnHostPid() == getpid());
    Expect(write(first_holds[1], "", 1) == 1 && second.Good());
    agent.SetLimits(Share(4096));  // this process has the agent's own view of them, as a fork of it
    Expect(Total() == 4096);
    Allocate(2000);
  }));
  const std::string line = "[partage] limits: /run/partage/agent.sock; usage: /run/partage/agent.sock\n";
  CHECK(container.said() == line + line);
  REQUIRE(agent.callers().size() == 4);  // each for its files and for its number
  CHECK(agent.callers()[0].request.wish == shm::AgentWish::kFiles);
  container.Set("CUDA_DEVICE_MEMORY_LIMIT", "512m");
  CHECK(container.Run([] { ExpectShare(512); }));
}

TEST_CASE("Files that a process may not open, or of another version, are handed over by the agent") {
  NEEDS_CONTAINERS();
  Container container;
  REQUIRE(shm::WriteLimits(container.limits().c_str(), Share(1024)) == shm::Fault::kNone);
  const FakeAgent agent(container.mounted(), Share(2048));
  const auto as_nobody = [](auto body) {
    return [body] {
      if (::getuid() == 0) Expect(::setuid(65534) == 0);
      body();
    };
  };
  CHECK(container.Run(as_nobody([] { ExpectShare(1024); })));
  SECTION("limits that only root may read") {
    REQUIRE(::chmod(container.limits().c_str(), 0600) == 0);
    if (::getuid() == 0) CHECK(container.Run(as_nobody([] { ExpectShare(2048); })));
  }
  SECTION("a usage file that only root may write") {
    REQUIRE(::chmod(container.usage().c_str(), 0600) == 0);
    if (::getuid() == 0) CHECK(container.Run(as_nobody([] { ExpectShare(1024); })));
    CHECK_THAT(container.said(), Catch::EndsWith("limits: /run/partage/limits; usage: /run/partage/agent.sock\n"));
  }
  SECTION("a usage file that is missing, where it cannot be made") {
    fs::remove(container.usage());
    container.ReadOnly();
    CHECK(container.Run([] { ExpectShare(1024); }));
    CHECK_THAT(container.said(), Catch::EndsWith("limits: /run/partage/limits; usage: /run/partage/agent.sock\n"));
  }
  SECTION("limits of another version") {
    const int file = open(container.limits().c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(pwrite(file, "\x63", 1, 8) == 1);
    close(file);
    CHECK(container.Run([] { ExpectShare(2048); }));
  }
}

TEST_CASE("A process keeps nothing of the question but the usage file") {
  NEEDS_CONTAINERS();
  Container container;
  FakeAgent agent(container.mounted(), Share(1024));
  CHECK(container.Run([] {
    const std::set<std::string> before = OpenFiles();  // the fake driver opens none
    UseDevice();
    Allocate(1);
    const std::set<std::string> after = OpenFiles();
    std::vector<std::string> more;
    std::set_difference(after.begin(), after.end(), before.begin(), before.end(), std::back_inserter(more));
    Expect(more.size() == 1 && more[0].find("/partage/usage") != std::string::npos);
  }));
  agent.SetLimits(Share(0));
  CHECK(container.Run([] {
    const std::set<std::string> before = OpenFiles();
    UseDevice();
    Expect(OpenFiles() == before);
  }));
}

TEST_CASE("Where the agent gave no share a process is not limited but by its own variables") {
  NEEDS_CONTAINERS();
  Container container;
  FakeAgent agent(container.mounted(), Share(1024));
  agent.Behave(AgentManner::kNoShare);
  const auto unlimited = [] {
    UseDevice();
    Expect(Total() == kWhole);
    Allocate(8192);
  };
  CHECK(container.Run(unlimited));
  CHECK(container.said() == "[partage] nothing is limited\n");
  agent.Behave(AgentManner::kAnswers);
  agent.SetLimits(Share(0));
  CHECK(container.Run(unlimited));
  CHECK(container.said() == "[partage] nothing is limited\n");
  agent.Behave(AgentManner::kNoShare);
  container.Set("CUDA_DEVICE_MEMORY_LIMIT", "512m").Set("PARTAGE_USAGE", container.folder().path() + "/mine");
  CHECK(container.Run([] { ExpectShare(512); }));
}

TEST_CASE("An agent that fails a process is named, and the process gets no memory, or what its variables say") {
  NEEDS_CONTAINERS();
  struct Case {
    AgentManner manner;
    std::string why;
  };
  const std::string no_answer = "nobody answered there in time: the node agent is not running, or it hangs";
  const std::string other = "what was answered there is not of our protocol: the node agent is of another version, or it is none";
  for (const Case& c : std::vector<Case>{{AgentManner::kRefuses, "the pod is not on this node"},
                                         {AgentManner::kSaysNothing, no_answer},
                                         {AgentManner::kHangsUp, no_answer},
                                         {AgentManner::kBabbles, other},
                                         {AgentManner::kOneFile, other},
                                         {AgentManner::kSwapsFiles, "it is not a Partage file of this kind"}}) {
    Container container;
    FakeAgent agent(container.mounted(), Share(1024));
    agent.Behave(c.manner);
    const std::string generous = container.folder().path() + "/generous";
    REQUIRE(shm::WriteLimits(generous.c_str(), Share(8192)) == shm::Fault::kNone);
    container.Set("PARTAGE_LIMITS", generous);
    INFO(c.why);
    CHECK(container.Run(ExpectRefused));
    CHECK_THAT(container.said(), Catch::StartsWith("[partage] cannot use /run/partage/agent.sock: " + c.why + "; memory is refused\n"));
    CHECK(container.took_ns() < 20 * kSecond);
    if (c.manner != AgentManner::kRefuses) continue;
    container.Set("PARTAGE_ON_FAULT", "pass").Set("CUDA_DEVICE_MEMORY_LIMIT", "512m");
    CHECK(container.Run([] { ExpectShare(512); }));
  }
}

TEST_CASE("Limits by name hold while the agent is away, and nobody waits for it") {
  NEEDS_CONTAINERS();
  Container container;
  REQUIRE(shm::WriteLimits(container.limits().c_str(), Share(1024)) == shm::Fault::kNone);
  FakeAgent agent(container.mounted(), Share(2048));
  agent.Stop();
  CHECK(container.Run([] {
    ExpectShare(1024);
    Expect(OwnHostPid() == 0);
  }));
  CHECK(container.took_ns() < 2 * kSecond);
  CHECK_THAT(container.said(),
             Catch::Contains("the node agent does not say which process this is on the host: /run/partage/agent.sock: nobody answered"));
  agent.Start();
  agent.Behave(AgentManner::kSaysNothing);
  CHECK(container.Run([] { ExpectShare(1024); }));
}

TEST_CASE("A process that has nothing else to go by waits for an agent that is being replaced") {
  NEEDS_CONTAINERS();
  Container container;
  FakeAgent agent(container.mounted(), Share(1024));
  agent.Stop();
  std::thread again([&] {
    ::usleep(300'000);
    agent.Start();
  });
  CHECK(container.Run([] { ExpectShare(1024); }));
  again.join();
}

TEST_CASE("Whoever never uses the driver asks nobody anything") {
  NEEDS_CONTAINERS();
  Container container;
  const FakeAgent agent(container.mounted(), Share(1024));
  CHECK(container.Run([] {
    execl("/bin/sh", "sh", "-c", "exit 0", nullptr);
    Expect(false);
  }));
  CHECK(agent.callers().empty());
}

TEST_CASE("Sixty-four processes that start at once are all known to the agent, each by its own number and slot") {
  NEEDS_CONTAINERS();
  Container container;
  const FakeAgent agent(container.mounted(), Share(1024));
  CHECK(container.Run([] {
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < 64; ++i) {
      children.push_back(std::make_unique<Child>(Child::Environment{}, [] {
        UseDevice();
        Allocate(1);
        Expect(OwnHostPid() == getpid());
      }));
    }
    for (const auto& child : children) Expect(child->Good());
  }));
  int numbers = 0;
  for (const auto& caller : agent.callers()) numbers += caller.request.wish == shm::AgentWish::kNumber ? 1 : 0;
  CHECK(numbers == 64);
}

}  // namespace partage::intercept
