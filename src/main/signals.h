// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>

namespace partage::app {

/// Turns SIGTERM and SIGINT into a call that waits, and ignores SIGPIPE. Construct it before any thread is started: threads inherit what is blocked.
class StopSignals {
 public:
  StopSignals();
  /// Blocks until one arrives; its name. From then on another one ends the process at once.
  const char* Wait();

 private:
  sigset_t set_;
};

}  // namespace partage::app
