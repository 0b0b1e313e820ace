// SPDX-License-Identifier: Apache-2.0
#include "test/intercept/loader/run_program.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

namespace partage::test {
namespace {

/// Argument and environment vectors of execve.
class Image {
 public:
  Image(const std::vector<std::string>& command, const Environment& environment) : command_(command) {
    variables_.push_back("PATH=/usr/bin:/bin");
    for (const auto& [name, value] : environment) variables_.push_back(name + "=" + value);
    for (std::string& argument : command_) arguments_.push_back(argument.data());
    for (std::string& variable : variables_) environment_.push_back(variable.data());
    arguments_.push_back(nullptr);
    environment_.push_back(nullptr);
  }
  [[noreturn]] void Exec() const {
    execve(arguments_[0], arguments_.data(), environment_.data());
    _exit(127);
  }

 private:
  std::vector<std::string> command_, variables_;
  std::vector<char*> arguments_, environment_;
};

std::string Contents(FILE* file) {
  std::string text;
  std::rewind(file);
  char buffer[4096];
  while (const size_t got = std::fread(buffer, 1, sizeof(buffer), file)) text.append(buffer, got);
  return text;
}

using File = std::unique_ptr<FILE, int (*)(FILE*)>;

}  // namespace

Ran Run(const std::vector<std::string>& command, const Environment& environment) {
  const Image image(command, environment);
  const File out(std::tmpfile(), std::fclose);
  const File err(std::tmpfile(), std::fclose);
  const pid_t child = fork();
  if (child == 0) {
    dup2(fileno(out.get()), STDOUT_FILENO);
    dup2(fileno(err.get()), STDERR_FILENO);
    image.Exec();
  }
  Ran ran;
  waitpid(child, &ran.status, 0);
  ran.out = Contents(out.get());
  ran.err = Contents(err.get());
  return ran;
}

std::vector<long> SystemCalls(const std::vector<std::string>& command, const Environment& environment) {
  const Image image(command, environment);
  const pid_t child = fork();
  if (child == 0) {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(126);
    raise(SIGSTOP);
    image.Exec();
  }
  std::vector<long> calls;
  int status = 0;
  waitpid(child, &status, 0);
  ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  bool entering = true;
  while (WIFSTOPPED(status)) {
    if (ptrace(PTRACE_SYSCALL, child, nullptr, nullptr) != 0 || waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) break;
    if (WSTOPSIG(status) != (SIGTRAP | 0x80)) continue;  // the stop after execve, signals
#if defined(__x86_64__)
    user_regs_struct registers{};
    ptrace(PTRACE_GETREGS, child, nullptr, &registers);
    if (entering) calls.push_back(static_cast<long>(registers.orig_rax));
#endif
    entering = !entering;
  }
  return calls;
}

}  // namespace partage::test
