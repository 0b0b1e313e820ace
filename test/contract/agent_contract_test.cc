// SPDX-License-Identifier: Apache-2.0
// What libpartage.so relies on in a node agent that answers at its socket. The fake one is held to it here; a real one that runs on this machine, and has given
// this program's container a share, by naming its socket in PARTAGE_CONTRACT_AGENT.
#include <catch2/catch.hpp>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "shm/layout_fields.h"
#include "test/shm/child.h"
#include "test/support/fake_agent.h"
#include "test/support/skip.h"
#include "test/support/temp_folder.h"

namespace partage::test {
namespace {

using namespace shm;

constexpr std::uint64_t kWaitNs = 5'000'000'000;

class Agent {
 public:
  Agent() {
    const char* const real = std::getenv("PARTAGE_CONTRACT_AGENT");
    if (real != nullptr) {
      socket_ = real;
      return;
    }
    LimitsContent limits;
    limits.devices = 1;
    std::strcpy(limits.device[0].uuid, "GPU-11111111-1111-1111-1111-111111111111");
    limits.device[0].memory_bytes = 1 << 30;
    REQUIRE(::chmod(folder_.path().c_str(), 0755) == 0);  // as the mount of a container is
    fake_.emplace(folder_.path(), limits);
    socket_ = fake_->socket();
  }

  Fault Ask(AgentWish wish, AgentReply* reply, AgentFiles* files) const {
    return AskAgent(socket_.c_str(), wish, 0, 0, kWaitNs, reply, files);
  }

  /// A connection of our own, to say what the library never would; times out.
  int Connect() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, socket_.c_str(), sizeof address.sun_path - 1);
    const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    const timeval patience{5, 0};
    REQUIRE(::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    REQUIRE(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    return fd;
  }

  const std::string& socket() const { return socket_; }

 private:
  TempFolder folder_;
  std::optional<FakeAgent> fake_;
  std::string socket_;
};

/// The two files, closed in the end.
struct Files : AgentFiles {
  Files() = default;
  ~Files() { Close(); }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
};

}  // namespace

TEST_CASE("agent: everybody may ask, and each process is told its own number, whoever its parent is") {
  const Agent agent;
  AgentReply reply;
  AgentFiles files;
  REQUIRE(agent.Ask(AgentWish::kNumber, &reply, &files) == Fault::kNone);
  CHECK(reply.answer == AgentAnswer::kNumber);
  CHECK(reply.host_pid == static_cast<std::uint64_t>(::getpid()));
  CHECK(files.limits == -1);
  CHECK(files.usage == -1);
  for (const uid_t user : {0U, 65534U}) {
    Child child([&] {
      if (::getuid() == 0 && ::setuid(user) != 0) return 2;
      AgentReply own;
      AgentFiles none;
      return agent.Ask(AgentWish::kNumber, &own, &none) == Fault::kNone && own.host_pid == static_cast<std::uint64_t>(::getpid()) ? 0 : 1;
    });
    CHECK(child.Wait() == 0);
  }
}

TEST_CASE("agent: a process of another PID namespace is told its number in the agent's") {
  const Agent agent;
  Shared<std::uint64_t> told;
  Child outer([&] {
    if (::unshare(CLONE_NEWPID) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) return 77;
    const pid_t inner = ::fork();
    if (inner == 0) {
      AgentReply reply;
      AgentFiles none;
      if (::getpid() != 1 || agent.Ask(AgentWish::kNumber, &reply, &none) != Fault::kNone) ::_exit(1);
      *told = reply.host_pid;
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(inner, &status, 0);
    return status == 0 && *told == static_cast<std::uint64_t>(inner) ? 0 : 1;
  });
  const int status = outer.Wait();
  if (status == 77) {
    Skipped("PID namespaces are not allowed here");
    return;
  }
  CHECK(status == 0);
  CHECK(*told > 1);
}

TEST_CASE("agent: it hands over limits that nobody can write and the one usage file of the container") {
  const Agent agent;
  AgentReply reply;
  Files first, second;
  REQUIRE(agent.Ask(AgentWish::kFiles, &reply, &first) == Fault::kNone);
  REQUIRE(reply.answer == AgentAnswer::kFiles);
  CHECK(reply.host_pid == static_cast<std::uint64_t>(::getpid()));
  REQUIRE(agent.Ask(AgentWish::kFiles, &reply, &second) == Fault::kNone);
  for (const int fd : {first.limits, first.usage}) CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);

  struct stat one, other;
  REQUIRE((::fstat(first.usage, &one) == 0 && ::fstat(second.usage, &other) == 0));
  CHECK((one.st_ino == other.st_ino && one.st_dev == other.st_dev));

  CHECK(::pwrite(first.limits, "x", 1, 100) < 0);
  CHECK(::mmap(nullptr, sizeof(LimitsLayout), PROT_READ | PROT_WRITE, MAP_SHARED, first.limits, 0) == MAP_FAILED);
  const std::string again = "/proc/self/fd/" + std::to_string(first.limits);
  const int writable = ::open(again.c_str(), O_RDWR | O_CLOEXEC);
  if (writable >= 0) {  // root may open it; that must not help
    CHECK(::pwrite(writable, "x", 1, 100) < 0);
    CHECK(::mmap(nullptr, sizeof(LimitsLayout), PROT_READ | PROT_WRITE, MAP_SHARED, writable, 0) == MAP_FAILED);
    CHECK(::ftruncate(writable, 0) != 0);  // which would kill every process that has it mapped
    ::close(writable);
  }
  void* const mapped = ::mmap(nullptr, sizeof(LimitsLayout), PROT_READ, MAP_SHARED, first.limits, 0);
  REQUIRE(mapped != MAP_FAILED);
  CHECK(::mprotect(mapped, sizeof(LimitsLayout), PROT_READ | PROT_WRITE) != 0);
  ::munmap(mapped, sizeof(LimitsLayout));

  Limits limits;
  LimitsContent content;
  REQUIRE(limits.OpenDescriptor(std::exchange(first.limits, -1)) == Fault::kNone);
  CHECK(limits.Read(&content));
  Region region;
  REQUIRE(region.OpenDescriptor(std::exchange(first.usage, -1)) == Fault::kNone);
  CHECK(region.Claim() == Fault::kNone);
  region.Release();
}

TEST_CASE("agent: whoever speaks another version, or has other layouts, is refused with the reason") {
  const Agent agent;
  std::vector<AgentRequest> strange(4, RequestFor(AgentWish::kFiles));
  strange[0].version = 99;
  strange[1].limits_hash ^= 1;
  strange[2].region_hash ^= 1;
  strange[3].region_abi += 1;
  for (const AgentRequest& request : strange) {
    const int fd = agent.Connect();
    REQUIRE(::send(fd, &request, sizeof request, 0) == sizeof request);
    AgentReply reply;
    CHECK(::recv(fd, &reply, sizeof reply, MSG_TRUNC) == sizeof reply);
    CHECK(reply.answer == AgentAnswer::kRefused);
    CHECK(::strnlen(reply.reason, sizeof reply.reason) > 10);
    CHECK(::strnlen(reply.reason, sizeof reply.reason) < sizeof reply.reason);
    ::close(fd);
  }
}

TEST_CASE("agent: what is no request, a silent caller and one that hangs up disturb nobody") {
  const Agent agent;
  const int silent = agent.Connect();
  for (const std::string& garbage : {std::string("x"), std::string(4096, 'y'), std::string()}) {
    const int fd = agent.Connect();
    ::send(fd, garbage.data(), garbage.size(), MSG_NOSIGNAL);
    if (!garbage.empty()) {
      char answer[200];
      CHECK(::recv(fd, answer, sizeof answer, 0) <= 0);
      CHECK(errno != EAGAIN);
    }
    ::close(fd);
  }
  AgentReply reply;
  AgentFiles none;
  CHECK(agent.Ask(AgentWish::kNumber, &reply, &none) == Fault::kNone);
  CHECK(reply.host_pid == static_cast<std::uint64_t>(::getpid()));
  ::close(silent);
}

TEST_CASE("agent: sixty-four processes that ask at once are all answered") {
  const Agent agent;
  std::vector<Child> children;
  for (int i = 0; i < 64; ++i) {
    children.emplace_back([&] {
      for (int round = 0; round < 8; ++round) {
        AgentReply reply;
        Files files;
        if (agent.Ask(round % 2 == 0 ? AgentWish::kFiles : AgentWish::kNumber, &reply, &files) != Fault::kNone) return 1;
        if (reply.host_pid != static_cast<std::uint64_t>(::getpid())) return 2;
      }
      return 0;
    });
  }
  for (Child& child : children) CHECK(child.Wait() == 0);
}

}  // namespace partage::test
