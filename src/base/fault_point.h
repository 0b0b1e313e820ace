// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace partage {

/// Where a process can be made to die, or another thread's turn can be taken: before and after every side effect of a bind or a preemption. Only in builds with
/// the CMake option PARTAGE_FAULT_POINTS (presets dev, asan, tsan); everywhere else, in what ships above all, a fault point is nothing at all.
///
/// There, the environment variable PARTAGE_FAULT_POINT=NAME or NAME:N makes the process kill itself (SIGKILL) when it passes NAME for the Nth time, and a test
/// in the same process may set a hook instead. Thread-safe.
#ifdef PARTAGE_FAULT_POINTS
void FaultPoint(std::string_view name);

/// Called at every fault point by the thread that passes it, with no lock held but the preemptor's own; it may throw. nullptr: none.
using FaultHook = void (*)(std::string_view name);
void SetFaultHook(FaultHook hook);
#else
inline void FaultPoint(std::string_view) {}
#endif

}  // namespace partage
