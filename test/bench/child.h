// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdio>
#include <string>
#include <vector>

namespace partage::bench {

/// A child process: one line in, one line out. Killed with this object, and by the kernel when this program dies. Used by one thread.
class Child {
 public:
  /// Its stderr is appended to the file `log`.
  Child(const std::vector<std::string>& command, const std::string& log);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Writes the line, and returns the line that comes back. Gives up when the child has gone.
  std::string Ask(const std::string& line);
  /// The next line it writes.
  std::string ReadLine();

  double RssMib() const { return StatusMib("VmRSS:"); }
  double PeakRssMib() const { return StatusMib("VmHWM:"); }
  /// User and system time so far.
  double CpuSeconds() const;
  /// Open ones now.
  int Descriptors() const;
  bool running() const;

 private:
  double StatusMib(const std::string& field) const;
  const std::string name_, log_;
  pid_t pid_ = -1;
  int to_ = -1;
  std::FILE* from_ = nullptr;
};

}  // namespace partage::bench
