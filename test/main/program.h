// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace partage::test {

/// One of our programs as a child process, its output in one file. Killed with this object. Used by one thread.
class Program {
 public:
  Program(const std::string& path, const std::vector<std::string>& arguments, std::string output_file);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// What it has written so far, standard output and error together.
  std::string Output() const;
  /// Waits until its output holds this text; false when it ends before, or after 20 s.
  bool WaitForOutput(const std::string& text);
  void Signal(int signal) const;
  /// Waits until it has ended: its exit code, 128 + n after signal n, -1 when it is still there after `patience`.
  int WaitForEnd(std::chrono::milliseconds patience = std::chrono::seconds(20));

 private:
  bool Reap();

  const std::string output_file_;
  pid_t pid_ = -1;
  bool ended_ = false;
  int status_ = 0;
};

}  // namespace partage::test
