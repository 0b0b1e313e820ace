// SPDX-License-Identifier: Apache-2.0
// The node agent's end of its socket (src/shm/agent_socket.h), for tests: one container's share, and every way in which an agent can fail a process.
// test/contract/agent_contract_test.cc holds it to what the library relies on.
#pragma once

#include <sys/types.h>

#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "shm/agent_socket.h"
#include "shm/limits.h"

namespace partage::test {

/// How it behaves towards whoever asks.
enum class AgentManner {
  kAnswers,
  kNoShare,
  kRefuses,        ///< "the pod is not on this node"
  kHangsUp,        ///< without an answer
  kSaysNothing,    ///< and hangs on
  kDoesNotAccept,  ///< as one that is stopped
  kBabbles,        ///< a packet of text
  kIsShort,        ///< the answer without its last byte
  kIsLong,         ///< and with one more
  kIsEmpty,        ///< nothing but descriptors
  kOtherVersion,
  kOtherAnswer,  ///< one that no version knows
  kOneFile,
  kThreeFiles,
  kNoFiles,       ///< says it sends files, and sends none
  kGivesTooMuch,  ///< files to whoever asks for a number
  kSwapsFiles,    ///< usage first
  kReadOnlyUsage,
};

class FakeAgent {
 public:
  /// A process that asked, as the kernel vouches for it.
  struct Caller {
    pid_t pid = 0;
    uid_t uid = 0;
    shm::AgentRequest request;
  };

  /// Listens at FOLDER/agent.sock; the usage file is FOLDER/usage, the limits file, of `limits`, has no name. Throws std::runtime_error.
  FakeAgent(const std::string& folder, const shm::LimitsContent& limits);
  ~FakeAgent();
  FakeAgent(const FakeAgent&) = delete;
  FakeAgent& operator=(const FakeAgent&) = delete;

  const std::string& socket() const { return socket_; }
  const std::string& usage() const { return usage_; }
  void Behave(AgentManner manner);
  void SetLimits(const shm::LimitsContent& limits);

  /// Nobody listens from here on, but the socket stays where it is: the agent was killed. Start begins anew.
  void Stop();
  void Start();

  /// Whoever asked so far, in order.
  std::vector<Caller> callers() const;

 private:
  void Listen();
  void Serve();
  bool Hear(int connection);
  void Answer(int connection, const Caller& caller, AgentManner manner);
  static void Send(int connection, const shm::AgentReply& reply, std::size_t length, const std::vector<int>& descriptors);
  AgentManner manner() const;

  std::string socket_;
  std::string usage_;
  shm::LimitsMemory limits_;
  int usage_fd_ = -1;
  int usage_fd_read_only_ = -1;
  int listener_ = -1;
  int stop_[2] = {-1, -1};
  std::thread thread_;

  mutable std::mutex mutex_;
  AgentManner manner_ = AgentManner::kAnswers;  // guarded by mutex_
  std::vector<Caller> callers_;                 // guarded by mutex_
};

}  // namespace partage::test
