// SPDX-License-Identifier: Apache-2.0
#include "test/bench/child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "test/bench/give_up.h"

namespace partage::bench {
namespace {

[[noreturn]] void Become(const std::vector<std::string>& command, int in, int out, const std::string& log) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int log_fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  ::dup2(in, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(log_fd, STDERR_FILENO);
  std::vector<char*> words;
  for (const auto& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  ::execv(words.front(), words.data());
  ::_exit(127);
}

std::string Slurp(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

Child::Child(const std::vector<std::string>& command, const std::string& log) : name_(command.front()), log_(log) {
  std::array<int, 2> down{}, up{};
  if (::pipe2(down.data(), O_CLOEXEC) != 0 || ::pipe2(up.data(), O_CLOEXEC) != 0) GiveUp("no pipes for {}", name_);
  pid_ = ::fork();
  if (pid_ < 0) GiveUp("no process for {}", name_);
  if (pid_ == 0) Become(command, down[0], up[1], log);
  ::close(down[0]);
  ::close(up[1]);
  to_ = down[1];
  from_ = ::fdopen(up[0], "r");
}

Child::~Child() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  ::close(to_);
  std::fclose(from_);
}

std::string Child::Ask(const std::string& line) {
  const std::string sent = line + '\n';
  if (::write(to_, sent.data(), sent.size()) != static_cast<ssize_t>(sent.size())) GiveUp("{} does not listen; its log: {}", name_, log_);
  return ReadLine();
}

std::string Child::ReadLine() {
  std::string line;
  for (int c = std::fgetc(from_); c != '\n'; c = std::fgetc(from_)) {
    if (c == EOF) GiveUp("{} has ended; the end of its log: {}", name_, Slurp(log_));
    line += static_cast<char>(c);
  }
  return line;
}

bool Child::running() const {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

double Child::StatusMib(const std::string& field) const {
  const std::string status = Slurp(fmt::format("/proc/{}/status", pid_));
  const auto at = status.find(field);
  if (at == status.npos) GiveUp("{} has ended; the end of its log: {}", name_, Slurp(log_));
  return std::stod(status.substr(at + field.size())) / 1024;
}

int Child::Descriptors() const {
  const std::filesystem::directory_iterator open(fmt::format("/proc/{}/fd", pid_));
  return static_cast<int>(std::distance(begin(open), end(open)));
}

double Child::CpuSeconds() const {
  const std::string stat = Slurp(fmt::format("/proc/{}/stat", pid_));
  std::istringstream fields(stat.substr(stat.rfind(')') + 1));
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace partage::bench
