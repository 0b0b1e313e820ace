// SPDX-License-Identifier: Apache-2.0
#include "base/fault_point.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>

namespace partage {
namespace {

/// PARTAGE_FAULT_POINT, taken apart.
class Death {
 public:
  Death() {
    const char* wish = std::getenv("PARTAGE_FAULT_POINT");
    if (wish == nullptr) return;
    point_ = wish;
    const auto colon = point_.find(':');
    if (colon == std::string::npos) return;
    passes_left_ = std::atoi(point_.c_str() + colon + 1);
    point_.resize(colon);
  }
  void Pass(std::string_view name) {
    if (name == point_ && --passes_left_ == 0) ::kill(::getpid(), SIGKILL);
  }

 private:
  std::string point_;
  std::atomic<int> passes_left_{1};
};

std::atomic<FaultHook> the_hook{nullptr};

}  // namespace

void FaultPoint(std::string_view name) {
  static Death death;
  death.Pass(name);
  if (const FaultHook hook = the_hook) hook(name);
}

void SetFaultHook(FaultHook hook) { the_hook = hook; }

}  // namespace partage
