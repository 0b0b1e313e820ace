// SPDX-License-Identifier: Apache-2.0
// A process that asks the node agent: answered, or on its way again in time and as it was before, whatever the agent does.
#include "shm/agent_socket.h"

#include <catch2/catch.hpp>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "shm/clock.h"
#include "shm/layout_fields.h"
#include "test/shm/child.h"
#include "test/support/fake_agent.h"
#include "test/support/temp_folder.h"

namespace partage::shm {
namespace {

using test::AgentManner;
using test::FakeAgent;
using test::TempFolder;

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kTick = 10 * kMs;  // by which the kernel's timers of sockets may be early
constexpr std::uint64_t kShort = 50 * kMs;
constexpr std::uint64_t kLong = 10'000 * kMs;

LimitsContent OneDevice(std::uint64_t memory) {
  LimitsContent limits;
  limits.devices = 1;
  std::strcpy(limits.device[0].uuid, "GPU-11111111-1111-1111-1111-111111111111");
  limits.device[0].memory_bytes = memory;
  return limits;
}

std::size_t OpenDescriptors() {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) count += entry.is_symlink() ? 1 : 0;
  return count;
}

/// Whether so many are open as soon as the agent, a thread of this process, has closed its ends.
bool OpenInTheEnd(std::size_t count) {
  return WaitFor([&] { return OpenDescriptors() == count; });
}

struct Asked {
  Fault fault;
  AgentReply reply;
  AgentFiles files;
  std::uint64_t took_ns;
};

Asked Ask(const std::string& path, AgentWish wish, std::uint64_t wait_ns) {
  Asked asked{};
  const std::uint64_t before = MonotonicNs();
  asked.fault = AskAgent(path.c_str(), wish, 7, 3, wait_ns, &asked.reply, &asked.files);
  asked.took_ns = MonotonicNs() - before;
  return asked;
}

/// A socket at which something else than an agent listens, or nothing ever does.
class Listener {
 public:
  Listener(const std::string& path, int type, int backlog) : fd_(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path.c_str());
    REQUIRE(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(fd_, backlog) == 0);
  }
  ~Listener() { ::close(fd_); }
  int fd() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

TEST_CASE("The agent hears which process asks for what and which layouts it knows, and its answer is believed") {
  const TempFolder folder;
  FakeAgent agent(folder.path(), OneDevice(1000));
  const std::size_t open_before = OpenDescriptors();
  errno = 4711;
  Asked number = Ask(agent.socket(), AgentWish::kNumber, kLong);
  CHECK(errno == 4711);
  REQUIRE(number.fault == Fault::kNone);
  CHECK(number.reply.answer == AgentAnswer::kNumber);
  CHECK(number.reply.host_pid == static_cast<std::uint64_t>(::getpid()));
  CHECK(number.files.limits == -1);
  CHECK(OpenInTheEnd(open_before));

  Asked files = Ask(agent.socket(), AgentWish::kFiles, kLong);
  REQUIRE(files.fault == Fault::kNone);
  CHECK(files.reply.answer == AgentAnswer::kFiles);
  CHECK(OpenInTheEnd(open_before + 2));
  Limits limits;
  REQUIRE(limits.OpenDescriptor(files.files.limits) == Fault::kNone);
  Region region;
  REQUIRE(region.OpenDescriptor(files.files.usage) == Fault::kNone);
  CHECK(OpenInTheEnd(open_before + 1));  // the usage file's, with its lock
  CHECK(limits.MemoryBytes(0) == 1000);
  agent.SetLimits(OneDevice(2000));
  CHECK(limits.MemoryBytes(0) == 2000);
  CHECK(limits.Generation() == 1);

  Region by_name;
  REQUIRE(region.Claim() == Fault::kNone);
  REQUIRE(region.Reserve(0, MemoryClass::kLinear, 500, 2000));
  REQUIRE(by_name.OpenReadOnly(agent.usage().c_str()) == Fault::kNone);
  CHECK(by_name.Used(0) == 500);
  region.SetHostPid(99);
  CHECK(by_name.layout().slots[region.slot()].host_pid.load() == 99);
  region.Release();
  CHECK(by_name.layout().slots[0].host_pid.load() == 0);

  const auto callers = agent.callers();
  REQUIRE(callers.size() == 2);
  CHECK(callers[1].pid == ::getpid());
  CHECK(callers[1].uid == ::getuid());
  CHECK(callers[1].request.wish == AgentWish::kFiles);
  CHECK(callers[1].request.owner == 7);
  CHECK(callers[1].request.slot == 3);
  CHECK(callers[1].request.limits_abi == kLimitsAbi);
  CHECK(callers[1].request.region_abi == kRegionAbi);
  CHECK(callers[1].request.limits_hash == kLimitsHash);
  CHECK(callers[1].request.region_hash == kRegionHash);
}

TEST_CASE("Whatever the agent does, the process knows what it came to, in time and without a descriptor more") {
  const TempFolder folder;
  FakeAgent agent(folder.path(), OneDevice(1000));
  const std::size_t at_first = OpenDescriptors();
  struct Case {
    AgentManner manner;
    Fault number, files;
  };
  for (const Case& c : std::vector<Case>{{AgentManner::kNoShare, Fault::kNone, Fault::kNone},
                                         {AgentManner::kRefuses, Fault::kNone, Fault::kNone},
                                         {AgentManner::kHangsUp, Fault::kSilent, Fault::kSilent},
                                         {AgentManner::kSaysNothing, Fault::kSilent, Fault::kSilent},
                                         {AgentManner::kDoesNotAccept, Fault::kSilent, Fault::kSilent},
                                         {AgentManner::kBabbles, Fault::kAnswer, Fault::kAnswer},
                                         {AgentManner::kIsShort, Fault::kAnswer, Fault::kAnswer},
                                         {AgentManner::kIsLong, Fault::kAnswer, Fault::kAnswer},
                                         {AgentManner::kIsEmpty, Fault::kSilent, Fault::kSilent},
                                         {AgentManner::kOtherVersion, Fault::kAnswer, Fault::kAnswer},
                                         {AgentManner::kOtherAnswer, Fault::kAnswer, Fault::kAnswer},
                                         {AgentManner::kOneFile, Fault::kAnswer, Fault::kAnswer},
                                         {AgentManner::kThreeFiles, Fault::kAnswer, Fault::kAnswer},
                                         {AgentManner::kNoFiles, Fault::kNone, Fault::kAnswer},
                                         {AgentManner::kGivesTooMuch, Fault::kAnswer, Fault::kNone}}) {
    INFO("manner " << static_cast<int>(c.manner));
    agent.Behave(c.manner);
    ::usleep(20'000);  // the agent looks up every 10 ms
    const std::size_t open_before = OpenDescriptors();
    Asked number = Ask(agent.socket(), AgentWish::kNumber, kShort);
    CHECK(number.fault == c.number);
    Asked files = Ask(agent.socket(), AgentWish::kFiles, kShort);
    CHECK(files.fault == c.files);
    CHECK((files.files.limits >= 0) == (c.manner == AgentManner::kGivesTooMuch));
    files.files.Close();
    if (c.manner != AgentManner::kDoesNotAccept) CHECK(OpenInTheEnd(open_before));
    CHECK(number.took_ns < 20 * kShort);
    CHECK(files.took_ns < 20 * kShort);
    if (c.files == Fault::kSilent) CHECK(files.took_ns >= kShort - kTick);
    if (c.manner == AgentManner::kRefuses) CHECK(std::string(files.reply.reason) == "the pod is not on this node");
  }
  agent.Behave(AgentManner::kAnswers);
  CHECK(Ask(agent.socket(), AgentWish::kNumber, kLong).fault == Fault::kNone);
  CHECK(OpenInTheEnd(at_first));
}

TEST_CASE("Files that are not what they should be are refused by whoever opens them") {
  const TempFolder folder;
  FakeAgent agent(folder.path(), OneDevice(1000));
  const std::size_t open_before = OpenDescriptors();
  agent.Behave(AgentManner::kSwapsFiles);
  const Asked swapped = Ask(agent.socket(), AgentWish::kFiles, kLong);
  REQUIRE(swapped.fault == Fault::kNone);
  Limits limits;
  Region region;
  CHECK(limits.OpenDescriptor(swapped.files.limits) == Fault::kMagic);
  CHECK(region.OpenDescriptor(swapped.files.usage) == Fault::kMagic);
  agent.Behave(AgentManner::kReadOnlyUsage);
  Asked read_only = Ask(agent.socket(), AgentWish::kFiles, kLong);
  REQUIRE(read_only.fault == Fault::kNone);
  CHECK(region.OpenDescriptor(read_only.files.usage) == Fault::kPermission);
  read_only.files.usage = -1;
  read_only.files.Close();
  CHECK(limits.OpenDescriptor(::open("/", O_RDONLY | O_CLOEXEC)) == Fault::kNotAFile);
  CHECK(limits.OpenDescriptor(::open("/dev/null", O_WRONLY | O_CLOEXEC)) == Fault::kPermission);
  CHECK(limits.OpenDescriptor(::open(agent.usage().c_str(), O_PATH | O_CLOEXEC)) == Fault::kPermission);
  CHECK(limits.OpenDescriptor(-1) == Fault::kPermission);
  CHECK_FALSE(limits.is_open());
  CHECK_FALSE(region.is_open());
  CHECK(OpenInTheEnd(open_before));
}

TEST_CASE("Without a socket there is no agent, and it costs no time to see that") {
  const TempFolder folder;
  for (const std::string& path : {folder.path() + "/agent.sock", std::string("/none/agent.sock")}) {
    errno = 4711;
    const Asked asked = Ask(path, AgentWish::kFiles, kLong);
    CHECK(errno == 4711);
    CHECK(asked.fault == Fault::kMissing);
    CHECK(asked.took_ns < kLong / 2);
  }
}

TEST_CASE("What lies in the socket's place and is none is not waited for longer than agreed") {
  const TempFolder folder;
  CHECK(Ask(folder.Write("file", "text"), AgentWish::kFiles, kShort).fault == Fault::kSilent);
  const Listener stream(folder.path() + "/stream", SOCK_STREAM, 5);
  CHECK(Ask(folder.path() + "/stream", AgentWish::kFiles, kLong).fault == Fault::kAnswer);
}

TEST_CASE("Whoever may not connect is told so") {
  const TempFolder folder;
  REQUIRE(::chmod(folder.path().c_str(), 0755) == 0);
  const FakeAgent agent(folder.path(), OneDevice(1000));
  REQUIRE(::chmod(agent.socket().c_str(), 0600) == 0);
  Child child([&] {
    if (::setuid(65534) != 0) return 77;
    return static_cast<int>(Ask(agent.socket(), AgentWish::kFiles, kLong).fault);
  });
  const int status = child.Wait();
  if (status != 77) CHECK(status == static_cast<int>(Fault::kPermission));
}

TEST_CASE("An agent that was killed is waited for by who needs its files, and by nobody else") {
  const TempFolder folder;
  FakeAgent agent(folder.path(), OneDevice(1000));
  agent.Stop();
  const Asked number = Ask(agent.socket(), AgentWish::kNumber, kLong);
  CHECK(number.fault == Fault::kSilent);
  CHECK(number.took_ns < kLong / 2);
  const Asked in_vain = Ask(agent.socket(), AgentWish::kFiles, kShort);
  CHECK(in_vain.fault == Fault::kSilent);
  CHECK(in_vain.took_ns >= kShort);
  std::thread again([&] {
    ::usleep(100'000);
    agent.Start();
  });
  Asked files = Ask(agent.socket(), AgentWish::kFiles, kLong);
  again.join();
  CHECK(files.fault == Fault::kNone);
  CHECK(files.took_ns < kLong / 2);
  files.files.Close();
}

TEST_CASE("Where more ask than the agent takes, each waits its time and no longer") {
  const TempFolder folder;
  const Listener stopped(folder.path() + "/agent.sock", SOCK_SEQPACKET, 0);
  std::vector<Child> others;
  for (int i = 0; i < 4; ++i)
    others.emplace_back([&] { return static_cast<int>(Ask(folder.path() + "/agent.sock", AgentWish::kFiles, kLong).fault); });
  ::usleep(100'000);
  const Asked asked = Ask(folder.path() + "/agent.sock", AgentWish::kNumber, kShort);
  CHECK(asked.fault == Fault::kSilent);
  CHECK(asked.took_ns >= kShort - kTick);
  CHECK(asked.took_ns < kLong / 2);
}

TEST_CASE("Signals neither cut a question short nor make it longer, and an agent that is gone raises none") {
  const TempFolder folder;
  Child child([&] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    const itimerval often{{0, 500}, {0, 500}};
    FakeAgent agent(folder.path(), OneDevice(1000));
    ::setitimer(ITIMER_REAL, &often, nullptr);
    for (int i = 0; i < 200; ++i) {
      if (Ask(agent.socket(), AgentWish::kNumber, kLong).fault != Fault::kNone) return 1;
    }
    agent.Behave(AgentManner::kSaysNothing);
    const Asked silent = Ask(agent.socket(), AgentWish::kNumber, kShort);
    if (silent.fault != Fault::kSilent || silent.took_ns < kShort - kTick || silent.took_ns > kLong / 2) return 2;
    // On one processor, and first in its turn, the other end hangs up between the connection and the question, too.
    constexpr int kTimes = 100;
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(static_cast<unsigned>(::sched_getcpu()), &first);
    ::sched_setaffinity(0, sizeof first, &first);
    const Listener rude(folder.path() + "/rude", SOCK_SEQPACKET, 5);
    std::thread hang_up([&] {
      for (int i = 0; i < kTimes; ++i) {
        int connection = -1;
        while (connection < 0) connection = ::accept(rude.fd(), nullptr, nullptr);
        ::close(connection);
      }
    });
    const sched_param none{};
    ::sched_setscheduler(0, SCHED_IDLE, &none);
    for (int i = 0; i < kTimes; ++i) {
      if (Ask(folder.path() + "/rude", AgentWish::kNumber, kLong).fault != Fault::kSilent) return 3;
    }
    hang_up.join();
    return 0;
  });
  CHECK(child.Wait() == 0);
}

TEST_CASE("A process whose table of descriptors is full is told that, and keeps none of what came") {
  const TempFolder folder;
  const FakeAgent agent(folder.path(), OneDevice(1000));
  for (const unsigned free : {0U, 1U, 2U}) {
    Child child([&] {
      std::vector<int> taken;
      for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) {
        taken.push_back(fd);
        if (taken.size() == 64) {
          const rlimit low{static_cast<rlim_t>(fd) + 1, static_cast<rlim_t>(fd) + 1};
          if (::setrlimit(RLIMIT_NOFILE, &low) != 0) return 1;
        }
      }
      for (unsigned i = 0; i < free; ++i) ::close(taken[taken.size() - 1 - i]);
      const Fault fault = Ask(agent.socket(), AgentWish::kFiles, kLong).fault;
      unsigned left = 0;
      while (::dup(0) >= 0) ++left;
      return fault == Fault::kUnavailable && left == free ? 0 : 100 + static_cast<int>(fault);
    });
    CHECK(child.Wait() == 0);
  }
}

TEST_CASE("A program that has closed its standard streams keeps them closed") {
  const TempFolder folder;
  const FakeAgent agent(folder.path(), OneDevice(1000));
  Child child([&] {
    for (const int fd : {0, 1, 2}) ::close(fd);
    Asked asked = Ask(agent.socket(), AgentWish::kFiles, kLong);
    Limits limits;
    Region region;
    if (limits.OpenDescriptor(asked.files.limits) != Fault::kNone || region.OpenDescriptor(asked.files.usage) != Fault::kNone) return 1;
    for (const int fd : {0, 1, 2}) {
      if (::fcntl(fd, F_GETFD) >= 0) return 2;
    }
    return region.Claim() == Fault::kNone ? 0 : 3;
  });
  CHECK(child.Wait() == 0);
}

TEST_CASE("Limits in memory are checked before they are written, like those in a file") {
  LimitsMemory memory;
  CHECK(memory.descriptor() == -1);
  LimitsContent wrong = OneDevice(0);
  CHECK(memory.Make(wrong) == Fault::kContent);
  REQUIRE(memory.Make(OneDevice(10)) == Fault::kNone);
  CHECK(memory.Write(wrong) == Fault::kContent);
  Limits limits;
  REQUIRE(limits.OpenDescriptor(::dup(memory.descriptor())) == Fault::kNone);
  for (std::uint64_t bytes = 11; bytes < 20; ++bytes) {
    REQUIRE(memory.Write(OneDevice(bytes)) == Fault::kNone);
    CHECK(limits.MemoryBytes(0) == bytes);
  }
}

}  // namespace partage::shm
