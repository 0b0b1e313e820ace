// SPDX-License-Identifier: Apache-2.0
// Processes for the tests of the shared region.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <new>
#include <utility>

namespace partage::shm {

/// A forked process that runs `work` and exits with what it returns; killed and reaped with the object. `work` must not use Catch's macros.
class Child {
 public:
  template <class Work>
  explicit Child(Work work) : pid_(::fork()) {
    if (pid_ == 0) ::_exit(work());
  }
  ~Child() { Kill(); }
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  Child& operator=(Child&& other) noexcept {
    Kill();
    pid_ = std::exchange(other.pid_, 0);
    return *this;
  }

  pid_t pid() const { return pid_; }
  void Signal(int signal) const { ::kill(pid_, signal); }

  /// The exit status; -1 when a signal ended it.
  int Wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  void Kill() {
    if (pid_ <= 0) return;
    Signal(SIGKILL);
    Wait();
  }

 private:
  pid_t pid_;
};

/// One object that this process and its children share.
template <class T>
class Shared {
 public:
  Shared() : at_(new (::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) T) {}
  ~Shared() { ::munmap(at_, sizeof(T)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  T* operator->() const { return at_; }
  T& operator*() const { return *at_; }

 private:
  T* at_;
};

/// Waits until `done` says so; false after `seconds`.
template <class Done>
bool WaitFor(Done done, int seconds = 10) {
  for (int i = 0; i < seconds * 1000; ++i) {
    if (done()) return true;
    ::usleep(1000);
  }
  return done();
}

}  // namespace partage::shm
