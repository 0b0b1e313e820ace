// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "shm/limits.h"
#include "test/shm/child.h"

namespace partage::intercept {

/// A process that does as it is told, one thing after the other: act(command) in it says whether that went well. Killed with the object.
class Puppet {
 public:
  template <class Act>
  explicit Puppet(Act act) : Puppet(Pipes(), act) {}
  ~Puppet() {
    for (const int end : {to_, from_}) close(end);
  }
  Puppet(const Puppet&) = delete;
  Puppet& operator=(const Puppet&) = delete;

  /// False, too, when it has died.
  bool Do(char command) {
    char answer = 'n';
    return write(to_, &command, 1) == 1 && read(from_, &answer, 1) == 1 && answer == 'y';
  }
  void Kill() { child_.Kill(); }

 private:
  struct Pipes {
    Pipes() {
      if (pipe(to) != 0 || pipe(from) != 0) std::abort();
      signal(SIGPIPE, SIG_IGN);  // a dead puppet answers "no"
    }
    int to[2], from[2];
  };

  template <class Act>
  Puppet(const Pipes& pipes, Act& act)
      : child_([&] {
          close(pipes.to[1]);
          close(pipes.from[0]);
          for (char command = 0; read(pipes.to[0], &command, 1) == 1;) {
            const char answer = act(command) ? 'y' : 'n';
            if (write(pipes.from[1], &answer, 1) != 1) break;
          }
          return 0;
        }),
        to_(pipes.to[1]),
        from_(pipes.from[0]) {
    close(pipes.to[0]);
    close(pipes.from[1]);
  }

  shm::Child child_;
  int to_, from_;
};

/// Changes the limits that the environment names. change(content) is called with what they are now.
template <class Change>
bool ChangeLimits(Change&& change) {
  const char* const path = std::getenv("PARTAGE_LIMITS");
  shm::LimitsContent content;
  shm::Limits limits;
  if (limits.Open(path) != shm::Fault::kNone || !limits.Read(&content)) return false;
  change(content);
  return shm::WriteLimits(path, content) == shm::Fault::kNone;
}

inline bool ChangeMemoryLimit(std::uint64_t bytes) {
  return ChangeLimits([bytes](shm::LimitsContent& content) { content.device[0].memory_bytes = bytes; });
}

}  // namespace partage::intercept
