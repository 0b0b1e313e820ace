// SPDX-License-Identifier: Apache-2.0
#include "main/signals.h"

namespace partage::app {

StopSignals::StopSignals() {
  sigemptyset(&set_);
  sigaddset(&set_, SIGTERM);
  sigaddset(&set_, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

const char* StopSignals::Wait() {
  int received = 0;
  while (sigwait(&set_, &received) != 0) {
  }
  pthread_sigmask(SIG_UNBLOCK, &set_, nullptr);
  return received == SIGTERM ? "SIGTERM" : "SIGINT";
}

}  // namespace partage::app
