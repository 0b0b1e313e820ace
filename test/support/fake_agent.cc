// SPDX-License-Identifier: Apache-2.0
#include "test/support/fake_agent.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>

#include "shm/layout_fields.h"
#include "shm/region.h"

namespace partage::test {
namespace {

using shm::AgentAnswer;
using shm::AgentReply;
using shm::AgentRequest;
using shm::AgentWish;

void Require(bool good, const std::string& what) {
  if (!good) throw std::runtime_error("fake agent: " + what + ": " + std::strerror(errno));
}

AgentReply Refusal(const std::string& reason) {
  AgentReply reply;
  std::strncpy(reply.reason, reason.c_str(), sizeof reply.reason - 1);
  return reply;
}

ucred PeerOf(int connection) {
  ucred peer{};
  socklen_t size = sizeof peer;
  getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size);
  return peer;
}

}  // namespace

FakeAgent::FakeAgent(const std::string& folder, const shm::LimitsContent& limits)
    : socket_(folder + "/agent.sock"), usage_(folder + "/usage") {
  Require(limits_.Make(limits) == shm::Fault::kNone, "limits in memory");
  {
    shm::Region region;
    Require(region.OpenOrCreate(usage_.c_str()) == shm::Fault::kNone, usage_);
  }
  usage_fd_ = open(usage_.c_str(), O_RDWR | O_CLOEXEC);
  usage_fd_read_only_ = open(usage_.c_str(), O_RDONLY | O_CLOEXEC);
  Require(usage_fd_ >= 0 && usage_fd_read_only_ >= 0, usage_);
  Start();
}

FakeAgent::~FakeAgent() {
  Stop();
  close(usage_fd_);
  close(usage_fd_read_only_);
}

void FakeAgent::Behave(AgentManner manner) {
  const std::lock_guard lock(mutex_);
  manner_ = manner;
}

void FakeAgent::SetLimits(const shm::LimitsContent& limits) { Require(limits_.Write(limits) == shm::Fault::kNone, "new limits"); }

std::vector<FakeAgent::Caller> FakeAgent::callers() const {
  const std::lock_guard lock(mutex_);
  return callers_;
}

void FakeAgent::Stop() {
  if (!thread_.joinable()) return;
  Require(write(stop_[1], "", 1) == 1, "stop");
  thread_.join();
  for (const int fd : {listener_, stop_[0], stop_[1]}) close(fd);
}

void FakeAgent::Start() {
  Listen();
  Require(pipe2(stop_, O_CLOEXEC) == 0, "pipe");
  thread_ = std::thread([this] { Serve(); });
}

void FakeAgent::Listen() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // Under another name first: nobody must find a socket at which nobody listens yet.
  const std::string temporary = socket_ + ".new";
  Require(temporary.size() < sizeof address.sun_path, temporary + " is too long");
  std::strcpy(address.sun_path, temporary.c_str());
  unlink(temporary.c_str());
  listener_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  Require(listener_ >= 0 && bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, temporary);
  Require(chmod(temporary.c_str(), 0666) == 0 && listen(listener_, SOMAXCONN) == 0, temporary);
  Require(rename(temporary.c_str(), socket_.c_str()) == 0, socket_);
}

/// Waits for all connections at once: who says nothing holds nobody up.
void FakeAgent::Serve() {
  std::vector<pollfd> waiting = {{stop_[0], POLLIN, 0}, {listener_, POLLIN, 0}};
  while ((waiting[0].revents & POLLIN) == 0) {
    waiting[1].events = manner() == AgentManner::kDoesNotAccept ? 0 : POLLIN;
    poll(waiting.data(), waiting.size(), 10);  // 10 ms: the manner may have changed
    for (std::size_t i = waiting.size(); i-- > 2;) {
      if (waiting[i].revents == 0 || Hear(waiting[i].fd)) continue;
      close(waiting[i].fd);
      waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if ((waiting[1].revents & POLLIN) == 0) continue;
    const int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (connection >= 0) waiting.push_back({connection, POLLIN, 0});
  }
  for (std::size_t i = 2; i < waiting.size(); ++i) close(waiting[i].fd);
}

/// Whether to keep the connection.
bool FakeAgent::Hear(int connection) {
  Caller caller;
  const ssize_t length =
      recv(connection, &caller.request, sizeof caller.request, MSG_TRUNC);  // descriptors that come with it the kernel drops
  if (length != sizeof caller.request || caller.request.magic != shm::kAgentMagic) return false;
  const ucred peer = PeerOf(connection);
  caller.pid = peer.pid;
  caller.uid = peer.uid;
  {
    const std::lock_guard lock(mutex_);
    callers_.push_back(caller);
  }
  Answer(connection, caller, manner());
  return manner() == AgentManner::kSaysNothing;
}

void FakeAgent::Answer(int connection, const Caller& caller, AgentManner manner) {
  const AgentRequest& request = caller.request;
  const bool wants_files = request.wish == AgentWish::kFiles;
  AgentReply reply;
  reply.host_pid = static_cast<std::uint64_t>(caller.pid);
  reply.answer = wants_files ? AgentAnswer::kFiles : AgentAnswer::kNumber;
  std::vector<int> files;
  if (wants_files) files = {limits_.descriptor(), usage_fd_};
  std::size_t length = sizeof reply;
  if (request.version != shm::kAgentVersion) {
    reply = Refusal("version " + std::to_string(request.version) + " of the protocol is not spoken here, 1 is");
    files.clear();
  } else if (wants_files && (request.limits_hash != shm::kLimitsHash || request.region_hash != shm::kRegionHash ||
                             request.limits_abi != shm::kLimitsAbi || request.region_abi != shm::kRegionAbi)) {
    reply = Refusal("the files are of another version than the library");
    files.clear();
  }
  switch (manner) {
    case AgentManner::kAnswers: break;
    case AgentManner::kNoShare: reply.answer = AgentAnswer::kNoShare, files.clear(); break;
    case AgentManner::kRefuses: reply = Refusal("the pod is not on this node"), files.clear(); break;
    case AgentManner::kHangsUp:
    case AgentManner::kSaysNothing:
    case AgentManner::kDoesNotAccept: return;
    case AgentManner::kBabbles: std::memset(static_cast<void*>(&reply), 'x', sizeof reply); break;
    case AgentManner::kIsShort: --length; break;
    case AgentManner::kIsLong: ++length; break;
    case AgentManner::kIsEmpty: length = 0, files = {limits_.descriptor(), usage_fd_}; break;
    case AgentManner::kOtherVersion: reply.version = 2; break;
    case AgentManner::kOtherAnswer: reply.answer = static_cast<AgentAnswer>(4); break;
    case AgentManner::kOneFile: files.resize(1, limits_.descriptor()); break;
    case AgentManner::kThreeFiles: files.resize(3, usage_fd_); break;
    case AgentManner::kNoFiles: files.clear(); break;
    case AgentManner::kGivesTooMuch: files = {limits_.descriptor(), usage_fd_}; break;
    case AgentManner::kSwapsFiles: files = {usage_fd_, limits_.descriptor()}; break;
    case AgentManner::kReadOnlyUsage: files = {limits_.descriptor(), usage_fd_read_only_}; break;
  }
  Send(connection, reply, length, files);
}

void FakeAgent::Send(int connection, const AgentReply& reply, std::size_t length, const std::vector<int>& descriptors) {
  char bytes[sizeof reply + 1] = {};
  std::memcpy(bytes, &reply, sizeof reply);
  iovec place{bytes, length};
  std::vector<char> control(CMSG_SPACE(descriptors.size() * sizeof(int)));
  msghdr message{};
  message.msg_iov = &place;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size() * sizeof(int));
  }
  sendmsg(connection, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

AgentManner FakeAgent::manner() const {
  const std::lock_guard lock(mutex_);
  return manner_;
}

}  // namespace partage::test
