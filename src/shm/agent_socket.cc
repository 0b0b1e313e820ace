// SPDX-License-Identifier: Apache-2.0
#include "shm/agent_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "shm/clock.h"
#include "shm/file.h"
#include "shm/layout_fields.h"
#include "shm/process.h"

// syscall(), because the libc wrappers are cancellation points and the caller holds locks; and because each further function of libc that the library names
// costs every exec in the container.
namespace partage::shm {
namespace {

constexpr std::uint64_t kPauseNs = 10'000'000;  // between looks for an agent that is being started again
constexpr unsigned kFiles = 2;

/// A moment by which all must be over.
class Deadline {
 public:
  explicit Deadline(std::uint64_t wait_ns) : at_ns_(MonotonicNs() + wait_ns) {}

  std::uint64_t left_ns() const {
    const std::uint64_t now = MonotonicNs();
    return now < at_ns_ ? at_ns_ - now : 0;
  }

  /// Lets the next call on the socket wait that long. False: it is over.
  bool SetOn(int fd, int option) const {
    const std::uint64_t microseconds = left_ns() / 1000;
    if (microseconds == 0) return false;
    const timeval time{static_cast<time_t>(microseconds / 1'000'000), static_cast<suseconds_t>(microseconds % 1'000'000)};
    return syscall(SYS_setsockopt, fd, SOL_SOCKET, option, &time, sizeof time) == 0;
  }

 private:
  std::uint64_t at_ns_;
};

/// What to do after a step.
enum class Step {
  kDone,
  kAgain,  // nobody there for the moment: the agent ends, starts, or has more callers than it takes
  kOver,
};

struct Outcome {
  Step step = Step::kDone;
  Fault fault = Fault::kNone;
};

Outcome FromErrno() {
  switch (errno) {
    case ENOENT:
    case ENOTDIR: return {Step::kOver, Fault::kMissing};
    case EACCES:
    case EPERM: return {Step::kOver, Fault::kPermission};
    case EPROTOTYPE:
    case EMSGSIZE: return {Step::kOver, Fault::kAnswer};  // somebody else's socket
    case ECONNREFUSED:
    case ECONNRESET:
    case ENOTCONN:
    case EPIPE: return {Step::kAgain, Fault::kSilent};
    case EAGAIN: return {Step::kOver, Fault::kSilent};
    default: return {Step::kOver, Fault::kUnavailable};
  }
}

/// Makes the call until no signal interrupts it.
template <class Call>
Outcome Uninterrupted(const Deadline& deadline, int fd, int option, Call call, long* result) {
  do {
    if (!deadline.SetOn(fd, option)) return {Step::kOver, Fault::kSilent};
    *result = call();
  } while (*result < 0 && errno == EINTR);
  return *result < 0 ? FromErrno() : Outcome{};
}

Outcome Connect(int fd, const char* path, const Deadline& deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = strlen(path);
  if (length >= sizeof address.sun_path) return {Step::kOver, Fault::kMissing};
  memcpy(address.sun_path, path, length);
  long result = 0;
  return Uninterrupted(
      deadline, fd, SO_SNDTIMEO, [&] { return syscall(SYS_connect, fd, &address, sizeof address); }, &result);
}

Outcome Send(int fd, const AgentRequest& request, const Deadline& deadline) {
  long result = 0;
  return Uninterrupted(
      deadline, fd, SO_SNDTIMEO, [&] { return syscall(SYS_sendto, fd, &request, sizeof request, MSG_NOSIGNAL, nullptr, 0); }, &result);
}

/// Takes the descriptors out of a message; how many there were. More than two the kernel has dropped, for want of room, and nothing else can stand there: we
/// did not ask for credentials.
unsigned TakeDescriptors(msghdr* message, int (&fds)[kFiles]) {
  const cmsghdr* const header = CMSG_FIRSTHDR(message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return 0;
  const std::size_t bytes = header->cmsg_len - CMSG_LEN(0);
  memcpy(fds, CMSG_DATA(header), bytes < sizeof fds ? bytes : sizeof fds);
  return static_cast<unsigned>(bytes / sizeof(int));
}

Outcome Receive(int fd, AgentWish wish, const Deadline& deadline, AgentReply* reply, AgentFiles* files) {
  alignas(cmsghdr) char control[CMSG_SPACE(kFiles * sizeof(int))] = {};
  iovec place{reply, sizeof *reply};
  msghdr message{};
  message.msg_iov = &place;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  long length = 0;
  const Outcome outcome = Uninterrupted(
      deadline, fd, SO_RCVTIMEO, [&] { return syscall(SYS_recvmsg, fd, &message, MSG_CMSG_CLOEXEC); }, &length);
  if (outcome.step != Step::kDone) return outcome;
  int fds[kFiles] = {-1, -1};
  const unsigned count = TakeDescriptors(&message, fds);
  *files = {fds[0], fds[1]};
  if (length == 0) return {Step::kAgain, Fault::kSilent};  // it hung up
  reply->reason[sizeof reply->reason - 1] = '\0';
  const bool whole = length == sizeof *reply && (message.msg_flags & MSG_TRUNC) == 0;
  const bool ours = whole && reply->magic == kAgentMagic && reply->version == kAgentVersion && reply->answer <= AgentAnswer::kRefused;
  const bool is_answer = ours && (wish == AgentWish::kFiles ? reply->answer != AgentAnswer::kNumber : reply->answer != AgentAnswer::kFiles);
  if (!is_answer) return {Step::kOver, Fault::kAnswer};
  const bool cut = (message.msg_flags & MSG_CTRUNC) != 0;
  if (reply->answer == AgentAnswer::kFiles && count < kFiles && cut)
    return {Step::kOver, Fault::kUnavailable};  // no room in this process's table
  return cut || count != (reply->answer == AgentAnswer::kFiles ? kFiles : 0) ? Outcome{Step::kOver, Fault::kAnswer} : Outcome{};
}

Outcome AskOnce(const char* path, const AgentRequest& request, const Deadline& deadline, AgentReply* reply, AgentFiles* files) {
  int fd = static_cast<int>(syscall(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (fd < 0) return FromErrno();
  Outcome outcome = Connect(fd, path, deadline);
  if (outcome.step == Step::kDone) outcome = Send(fd, request, deadline);
  if (outcome.step == Step::kDone) outcome = Receive(fd, request.wish, deadline, reply, files);
  syscall(SYS_close, fd);
  if (outcome.fault != Fault::kNone) files->Close();
  return outcome;
}

}  // namespace

AgentRequest RequestFor(AgentWish wish) {
  AgentRequest request;
  request.wish = wish;
  request.limits_abi = kLimitsAbi;
  request.region_abi = kRegionAbi;
  request.limits_hash = kLimitsHash;
  request.region_hash = kRegionHash;
  return request;
}

void AgentFiles::Close() {
  if (limits >= 0) syscall(SYS_close, limits);
  if (usage >= 0) syscall(SYS_close, usage);
  limits = usage = -1;
}

Fault AskAgent(const char* path, AgentWish wish, std::uint64_t owner, unsigned slot, std::uint64_t wait_ns, AgentReply* reply,
               AgentFiles* files) {
  const KeepErrno keep;
  AgentRequest request = RequestFor(wish);
  request.owner = owner;
  request.slot = slot;
  if (syscall(SYS_faccessat, AT_FDCWD, path, F_OK, 0) != 0) return FromErrno().fault;  // cheaper than a socket, where there is no agent
  const Deadline deadline(wait_ns);
  for (;;) {
    const Outcome outcome = AskOnce(path, request, deadline, reply, files);
    const bool gone_meanwhile = outcome.fault == Fault::kMissing;  // its next self puts the socket there again
    if (wish == AgentWish::kNumber || (outcome.step != Step::kAgain && !gone_meanwhile)) return outcome.fault;
    const std::uint64_t left = deadline.left_ns();
    if (left == 0) return gone_meanwhile ? Fault::kSilent : outcome.fault;
    SleepNs(left < kPauseNs ? left : kPauseNs);
  }
}

}  // namespace partage::shm
