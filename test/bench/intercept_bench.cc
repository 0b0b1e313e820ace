// SPDX-License-Identifier: Apache-2.0
// What libpartage.so adds to calls of the driver, on the fake driver in its fast mode. Prints lines "ID VALUE"; report.py knows what they mean.
// Every figure comes from processes of its own, in which this program runs again with a role (intercept_roles.h).
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "test/bench/intercept_roles.h"
#include "test/support/fake_agent.h"
#include "test/support/temp_folder.h"

namespace partage::bench {
namespace {

struct Options {
  std::string driver;   // folder of the fake driver
  std::string library;  // libpartage.so
  std::string only;
  int shrink = 1;
  std::vector<std::string> role;

  int rounds() const { return 4000 / shrink + 1; }
};

enum class Share { kNoLibrary, kUnlimited, kLimited, kLimitedAlone };  // alone: each process with a usage file of its own

class Bench {
 public:
  explicit Bench(const Options& options) : options_(options) {}

  void Run() {
    Measure("launch_unlimited_added_ns", [&] { return Added(Share::kUnlimited, {"launch", "0", "linked"}); });
    Measure("launch_limited_added_ns", [&] { return Added(Share::kLimited, {"launch", "0", "hooked"}); });
    for (const int count : {2, 4, 8, 16})
      Measure("launch_limited_" + std::to_string(count) + "_processes_ratio", [&] { return SharedToAlone(count); });
    Measure("alloc_free_0_live_ns", [&] { return Added(Share::kLimited, {"alloc_free", "0"}); });
    Measure("alloc_free_10k_live_ns", [&] { return Added(Share::kLimited, {"alloc_free", "10000"}); });
    Measure("alloc_free_1m_live_ns", [&] { return Added(Share::kLimited, {"alloc_free", "1000000"}); });
    Measure("alloc_free_255_processes_ns", [&] { return BesideOthers(255); });
    Measure("mem_get_info_ns", [&] { return Added(Share::kLimited, {"mem_get_info", "0"}); });
    Measure("get_proc_address_added_ns", [&] { return Added(Share::kLimited, {"get_proc_address", "0"}); });
    Measure("memcpy_async_added_ns", [&] { return Added(Share::kLimited, {"memcpy_async", "0"}); });
    Measure("start_256_p99_added_ms", [&] { return StartTogether(); });
    Measure("exec_true_added_us", [&] { return ExecTrue(); });
    Measure("agent_number_us", [&] { return AskForNumber(); });
  }

  bool good() const { return good_; }

 private:
  template <class Body>
  void Measure(const std::string& id, Body body) {
    if (!id.starts_with(options_.only)) return;
    std::fprintf(stderr, "measuring %s\n", id.c_str());
    const double value = body();
    if (failed_)
      std::fprintf(stderr, "%s could not be measured\n", id.c_str());
    else
      std::printf("%s %.3f\n", id.c_str(), value);
    std::fflush(stdout);
    good_ = good_ && !failed_;
    failed_ = false;
  }

  /// Starts this program again with a role. The descriptors stay open in it.
  pid_t Spawn(Share share, const std::vector<std::string>& role, int out = STDOUT_FILENO) {
    const pid_t pid = fork();
    if (pid != 0) return pid;
    SetEnvironment(share);
    if (out != STDOUT_FILENO) dup2(out, STDOUT_FILENO);
    std::vector<std::string> words = {"/proc/self/exe", "--role"};
    words.insert(words.end(), role.begin(), role.end());
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    execv(arguments[0], arguments.data());
    _exit(127);
  }

  void SetEnvironment(Share share) const {
    for (const char* name : {"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "FAKE_CUDA_PROFILE", "LD_PRELOAD"}) unsetenv(name);
    setenv("FAKE_CUDA", "fast; kernel 1ns; device memory=80G", 1);
    setenv("LD_LIBRARY_PATH", (options_.driver + "/580").c_str(), 1);
    if (share != Share::kNoLibrary) setenv("LD_PRELOAD", options_.library.c_str(), 1);
    if (share != Share::kLimited && share != Share::kLimitedAlone) return;
    setenv("CUDA_DEVICE_MEMORY_LIMIT", "60g", 1);
    setenv("CUDA_DEVICE_SM_LIMIT", "50", 1);
    setenv("GPU_CORE_UTILIZATION_POLICY", "force", 1);
    const std::string whose = share == Share::kLimitedAlone ? std::to_string(getpid()) : "";
    setenv("PARTAGE_USAGE", (folder_.path() + "/usage" + whose).c_str(), 1);
  }

  bool Wait(pid_t pid) {
    int status = 0;
    waitpid(pid, &status, 0);
    const bool well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    failed_ = failed_ || !well;
    return well;
  }

  /// What `count` processes with this role print, at the same time; their middle value.
  double Printed(Share share, const std::vector<std::string>& role, int count = 1) {
    std::array<int, 2> out{};
    if (pipe2(out.data(), O_CLOEXEC) != 0) return failed_ = true, 0;
    std::vector<pid_t> children;
    for (int i = 0; i < count; ++i) children.push_back(Spawn(share, role, out[1]));
    close(out[1]);
    std::vector<double> values;
    FILE* lines = fdopen(out[0], "r");
    for (double value = 0; std::fscanf(lines, "%lf", &value) == 1;) values.push_back(value);
    std::fclose(lines);
    for (const pid_t pid : children) Wait(pid);
    std::sort(values.begin(), values.end());
    failed_ = failed_ || static_cast<int>(values.size()) != count;
    return values.empty() ? 0 : values[values.size() / 2];
  }

  double Added(Share share, std::vector<std::string> call, int processes = 1) {
    const int rounds = processes == 1 ? options_.rounds() : options_.rounds() / 4;
    call.insert(call.begin(), {"added", std::to_string(rounds), std::to_string(processes)});
    return Printed(share, call, processes);
  }

  /// What sharing a usage file costs so many processes. Against one process alone it would tell what sharing a core does: beyond the machine's cores
  /// processes take turns, and each finds its caches cold.
  double SharedToAlone(int count) {
    constexpr int kTurns = 7;
    std::vector<double> ratios;
    for (int i = 0; i < kTurns; ++i) {
      const double alone = Added(Share::kLimitedAlone, {"launch", "0", "hooked"}, count);
      ratios.push_back(Added(Share::kLimited, {"launch", "0", "hooked"}, count) / std::max(alone, 1.0));
    }
    std::sort(ratios.begin(), ratios.end());
    return ratios[kTurns / 2];
  }

  double BesideOthers(int count) {
    std::array<int, 2> ready{}, stop{};
    if (pipe(ready.data()) != 0 || pipe2(stop.data(), O_CLOEXEC) != 0) return failed_ = true, 0;
    const int stop_of_others = dup(stop[0]);  // without O_CLOEXEC; the end that is closed to stop them has it
    std::vector<pid_t> others;
    for (int i = 0; i < count; ++i)
      others.push_back(Spawn(Share::kLimited, {"hold", std::to_string(ready[1]), std::to_string(stop_of_others)}));
    close(ready[1]);
    char byte = 0;
    for (int i = 0; i < count; ++i) failed_ = failed_ || read(ready[0], &byte, 1) != 1;
    const double added = failed_ ? 0 : Added(Share::kLimited, {"alloc_free", "0"});
    for (const int end : {stop[0], stop[1], stop_of_others, ready[0]}) close(end);
    for (const pid_t pid : others) Wait(pid);
    return added;
  }

  /// The 99th percentile, in ms, of how long processes that are let go at once take to their first memory.
  double StartP99(Share share) {
    constexpr int kCount = StartLine::kMost;
    const int line = memfd_create("start line", 0);
    std::array<int, 2> go{};
    if (line < 0 || ftruncate(line, sizeof(StartLine)) != 0 || pipe2(go.data(), O_CLOEXEC) != 0) return failed_ = true, 0;
    auto* start = static_cast<StartLine*>(mmap(nullptr, sizeof(StartLine), PROT_READ | PROT_WRITE, MAP_SHARED, line, 0));
    const int go_of_all = dup(go[0]);
    std::vector<pid_t> children;
    for (int i = 0; i < kCount; ++i) {
      children.push_back(Spawn(share, {"start", std::to_string(line), std::to_string(i), std::to_string(go_of_all)}));
    }
    usleep(500'000);  // until all wait at the line
    start->go_ns = std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
    close(go[1]);
    for (const pid_t pid : children) Wait(pid);
    std::vector<double> ms;
    for (const long long ready : start->ready_ns) ms.push_back(static_cast<double>(ready - start->go_ns) / 1e6);
    std::sort(ms.begin(), ms.end());
    munmap(start, sizeof(StartLine));
    for (const int end : {line, go[0], go_of_all}) close(end);
    return ms[kCount * 99 / 100];
  }

  double StartTogether() {
    std::vector<double> added;
    for (int i = 0; i < std::max(1, 9 / options_.shrink); ++i) {
      const double bare = StartP99(Share::kNoLibrary);
      std::filesystem::remove(folder_.path() + "/usage");
      added.push_back(StartP99(Share::kLimited) - bare);
    }
    std::sort(added.begin(), added.end());
    return added[added.size() / 2];
  }

  /// Microseconds from the start of a program that never touches the driver to its end.
  double TrueUs(Share share) {
    std::string name = "true", preload = "LD_PRELOAD=" + options_.library;
    std::array<char*, 2> arguments = {name.data(), nullptr};
    std::array<char*, 2> variables = {share == Share::kNoLibrary ? nullptr : preload.data(), nullptr};
    pid_t pid = 0;
    const auto start = std::chrono::steady_clock::now();
    if (posix_spawn(&pid, "/bin/true", nullptr, nullptr, arguments.data(), variables.data()) != 0) return failed_ = true, 0;
    Wait(pid);
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
  }

  double ExecTrue() {
    std::vector<double> added;
    for (int i = 0; i < options_.rounds(); ++i) {
      const double bare = TrueUs(Share::kNoLibrary);
      added.push_back(TrueUs(Share::kUnlimited) - bare);
    }
    std::nth_element(added.begin(), added.begin() + options_.rounds() / 2, added.end());
    return added[static_cast<size_t>(options_.rounds() / 2)];
  }

  /// What a process waits for the agent once it has its slot.
  double AskForNumber() {
    shm::LimitsContent limits;
    limits.devices = 1;
    std::snprintf(limits.device[0].uuid, sizeof limits.device[0].uuid, "GPU-11111111-1111-1111-1111-111111111111");
    const test::FakeAgent agent(folder_.path(), limits);
    std::vector<double> took;
    for (int i = 0; i < options_.rounds(); ++i) {
      shm::AgentReply reply;
      shm::AgentFiles none;
      const auto start = std::chrono::steady_clock::now();
      failed_ |= shm::AskAgent(agent.socket().c_str(), shm::AgentWish::kNumber, 0, 0, 1'000'000'000, &reply, &none) != shm::Fault::kNone;
      took.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
    }
    std::nth_element(took.begin(), took.begin() + options_.rounds() / 2, took.end());
    return took[static_cast<size_t>(options_.rounds() / 2)];
  }

  const Options& options_;
  test::TempFolder folder_;
  bool failed_ = false;
  bool good_ = true;
};

bool PlayRole(const std::vector<std::string>& role) {
  const auto number = [&](size_t i) { return std::stoi(role[i]); };
  if (role[0] == "hold") return Hold(number(1), number(2)), true;
  if (role[0] == "start") return Start(number(1), number(2), number(3)), true;
  if (role[0] != "added") return false;
  const std::string how = role.size() > 5 ? role[5] : "";
  const Measured what{role[3], number(4), how == "linked", how == "hooked", number(1), number(2)};
  std::printf("%f\n", AddedNs(what));
  return true;
}

}  // namespace
}  // namespace partage::bench

int main(int argc, char** argv) {
  partage::bench::Options options;
  CLI::App app("What libpartage.so adds to calls of the driver");
  app.add_option("--driver", options.driver, "folder of the fake driver");
  app.add_option("--library", options.library, "libpartage.so");
  app.add_option("--only", options.only, "only ids that begin so");
  app.add_option("--shrink", options.shrink, "divides the number of repetitions")->check(CLI::PositiveNumber);
  app.add_option("--role", options.role, "what this process does for another of the same program");
  CLI11_PARSE(app, argc, argv);
  if (!options.role.empty()) return partage::bench::PlayRole(options.role) ? 0 : 2;
  partage::bench::Bench bench(options);
  bench.Run();
  return bench.good() ? 0 : 1;
}
