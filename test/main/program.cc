// SPDX-License-Identifier: Apache-2.0
#include "test/main/program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "base/check.h"
#include "base/text_file.h"

namespace partage::test {
namespace {

constexpr std::chrono::milliseconds kPause{5};

[[noreturn]] void Become(const std::string& path, const std::vector<std::string>& arguments, const std::string& output_file) {
  const int output = ::open(output_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  std::vector<char*> words = {const_cast<char*>(path.c_str())};
  for (const auto& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  ::execv(path.c_str(), words.data());
  ::_exit(127);
}

/// Calls `done` until it is true; false when that takes too long.
template <class Done>
bool Poll(std::chrono::milliseconds patience, const Done& done) {
  for (const auto until = std::chrono::steady_clock::now() + patience; !done();) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

}  // namespace

Program::Program(const std::string& path, const std::vector<std::string>& arguments, std::string output_file)
    : output_file_(std::move(output_file)), pid_(::fork()) {
  PARTAGE_CHECK(pid_ >= 0, "a process can be started");
  if (pid_ == 0) Become(path, arguments, output_file_);
}

Program::~Program() {
  if (Reap()) return;
  Signal(SIGKILL);
  WaitForEnd();
}

std::string Program::Output() const { return ReadTextFile(output_file_).value_or(""); }

bool Program::WaitForOutput(const std::string& text) {
  const auto said = [&] { return Output().find(text) != std::string::npos; };
  Poll(std::chrono::seconds(20), [&] { return said() || Reap(); });
  return said();
}

void Program::Signal(int signal) const { ::kill(pid_, signal); }

int Program::WaitForEnd(std::chrono::milliseconds patience) {
  if (!Poll(patience, [&] { return Reap(); })) return -1;
  return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
}

bool Program::Reap() {
  if (!ended_) ended_ = ::waitpid(pid_, &status_, WNOHANG) == pid_;
  return ended_;
}

}  // namespace partage::test
