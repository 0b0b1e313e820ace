// SPDX-License-Identifier: Apache-2.0
// A program that wants the driver, in the way its first argument says. Prints one line a finding: "NAME OBJECT VALUE", OBJECT being the file that
// holds the function found, VALUE what it answered. Linked with nothing of ours.
#include <dlfcn.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {

using MemGetInfo = int (*)(size_t*, size_t*);
using GetProcAddress = int (*)(const char*, void**, int, unsigned long long);

const char* ObjectOf(void* address) {
  Dl_info info{};
  if (address == nullptr || dladdr(address, &info) == 0) return "nowhere";
  const char* const slash = std::strrchr(info.dli_fname, '/');
  return slash != nullptr ? slash + 1 : info.dli_fname;
}

void Print(const char* name, void* address, long value) {
  std::printf("%s %s %ld\n", name, ObjectOf(address), value);
  std::fflush(stdout);
}

/// The total in MiB that cuMemGetInfo answers.
long TotalOf(void* function) {
  size_t free = 0;
  size_t total = 0;
  if (function == nullptr || reinterpret_cast<MemGetInfo>(function)(&free, &total) != 0) return -1;
  return static_cast<long>(total >> 20);
}

/// Looks two names up behind a handle: one that is hooked, one that is not.
int LookIn(void* handle) {
  void* const info = dlsym(handle, "cuMemGetInfo_v2");
  Print("cuMemGetInfo_v2", info, TotalOf(info));
  Print("cuDriverGetVersion", dlsym(handle, "cuDriverGetVersion"), 0);
  return 0;
}

int Look(void* handle) { return handle != nullptr ? LookIn(handle) : (std::printf("open failed\n"), 0); }

int ByProcAddress(void* handle) {
  auto* const get = reinterpret_cast<GetProcAddress>(dlsym(handle, "cuGetProcAddress"));
  for (const char* name : {"cuMemGetInfo", "cuDriverGetVersion", "cuGetProcAddress", "cuNoSuchThing"}) {
    void* function = nullptr;
    const int result = get(name, &function, 12000, 0);
    Print(name, function, result);
  }
  void* older = nullptr;
  get("cuGetProcAddress", &older, 11040, 0);
  Print("older", older, older == reinterpret_cast<void*>(get));
  return 0;
}

int InChild(const std::function<int()>& body, bool exec_after) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    body();
    if (exec_after) execl("/bin/true", "true", nullptr);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return std::printf("child %d\n", status), 0;
}

int ByVfork() {
  const pid_t child = vfork();
  if (child == 0) {
    execl("/bin/true", "true", nullptr);
    _exit(1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  std::printf("child %d\n", status);
  return Look(dlopen("libcuda.so.1", RTLD_NOW));
}

int ByManyThreads() {
  std::vector<std::thread> threads;
  std::vector<long> totals(16);
  for (long& total : totals) {
    threads.emplace_back([&total] { total = TotalOf(dlsym(dlopen("libcuda.so.1", RTLD_NOW), "cuMemGetInfo_v2")); });
  }
  for (std::thread& thread : threads) thread.join();
  long right = 0;
  for (const long total : totals) right += total == totals[0];
  std::printf("threads %ld %ld\n", right, totals[0]);
  return 0;
}

/// Closes as often as it opened, then opens again: what was looked up before must still work.
int ByReopening() {
  void* const first = dlopen("libcuda.so.1", RTLD_NOW);
  void* const before = dlsym(first, "cuMemGetInfo_v2");
  dlclose(first);
  Print("before", before, TotalOf(before));
  return Look(dlopen("libcuda.so.1", RTLD_NOW));
}

int ByNvml() {
  void* const handle = dlopen("libnvidia-ml.so.1", RTLD_NOW);
  if (handle == nullptr) return std::printf("open failed\n"), 0;
  void* device = nullptr;
  unsigned long long memory[3] = {};
  reinterpret_cast<int (*)()>(dlsym(handle, "nvmlInit_v2"))();
  reinterpret_cast<int (*)(unsigned, void**)>(dlsym(handle, "nvmlDeviceGetHandleByIndex_v2"))(0, &device);
  void* const info = dlsym(handle, "nvmlDeviceGetMemoryInfo");
  reinterpret_cast<int (*)(void*, unsigned long long*)>(info)(device, memory);
  Print("nvmlDeviceGetMemoryInfo", info, static_cast<long>(memory[0] >> 20));
  return 0;
}

/// Another library's dlopen of a name that only its own RUNPATH can find.
int ByPlugin(const char* path) {
  void* const plugin = dlopen(path, RTLD_NOW);
  auto* const open = reinterpret_cast<void* (*)()>(dlsym(plugin, "OpenInner"));
  std::printf("inner %s\n", open != nullptr && open() != nullptr ? "found" : "missing");
  return 0;
}

/// A second copy in a namespace of its own is the same driver: its counter goes on where the first one's stood.
int InNamespace() {
  void* const first = dlopen("libcuda.so.1", RTLD_NOW);
  const auto calls = [](void* handle) { return reinterpret_cast<int (*)()>(dlsym(handle, "toyCalls"))(); };
  std::printf("calls %d\n", calls(first));
  void* const second = dlmopen(LM_ID_NEWLM, "libcuda.so.1", RTLD_NOW);
  if (second == nullptr) return std::printf("%s\n", dlerror()), 0;
  std::printf("calls %d\n", calls(second));
  return Look(second);
}

/// How many first segments of the driver's libraries, where their symbol tables lie, can be written.
int CountWritableHeads() {
  dlopen("libcuda.so.1", RTLD_NOW);
  dlopen("libnvidia-ml.so.1", RTLD_NOW);
  std::ifstream maps("/proc/self/maps");
  int heads = 0, writable = 0;
  for (std::string range, mode, offset, rest; maps >> range >> mode >> offset && std::getline(maps, rest);) {
    const bool driver = rest.find("libcuda.so") != std::string::npos || rest.find("libnvidia-ml.so") != std::string::npos;
    if (!driver || std::stoul(offset, nullptr, 16) != 0) continue;
    ++heads;
    writable += mode[1] == 'w' ? 1 : 0;
  }
  std::printf("heads %s writable %d\n", heads >= 2 ? "found" : "missing", writable);
  return 0;
}

/// Who runs this, whether the kernel raised its rights, and whether the library is in it.
int Identity() {
  std::ifstream maps("/proc/self/maps");
  bool mapped = false;
  for (std::string line; std::getline(maps, line);) mapped = mapped || line.find("/libpartage.so") != std::string::npos;
  std::printf("identity %u %u %s, libpartage.so %s\n", getuid(), geteuid(), getauxval(AT_SECURE) != 0 ? "secure" : "plain",
              mapped ? "mapped" : "missing");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const char* const path = argc > 2 ? argv[2] : nullptr;
  const std::map<std::string, std::function<int()>> ways = {
      {"open", [&] { return Look(dlopen(path, RTLD_NOW)); }},
      {"deepbind", [&] { return Look(dlopen(path, RTLD_NOW | RTLD_DEEPBIND)); }},
      {"global", [&] { return dlopen(path, RTLD_NOW | RTLD_GLOBAL), LookIn(RTLD_DEFAULT); }},
      {"noload", [&] { return Look(dlopen(path, RTLD_NOW | RTLD_NOLOAD)); }},
      {"namespace", InNamespace},
      {"two-files", [&] { return Look(dlopen("libcuda.so.1", RTLD_NOW)), Look(dlopen(path, RTLD_NOW)); }},
      {"proc-address", [&] { return ByProcAddress(dlopen("libcuda.so.1", RTLD_NOW)); }},
      {"fork", [&] { return dlopen(path, RTLD_NOW), InChild([&] { return Look(dlopen(path, RTLD_NOW)); }, false); }},
      {"fork-first", [&] { return InChild([&] { return Look(dlopen(path, RTLD_NOW)); }, true); }},
      {"vfork", ByVfork},
      {"threads", ByManyThreads},
      {"reopen", ByReopening},
      {"nvml", ByNvml},
      {"heads", CountWritableHeads},
      {"identity", Identity},
      {"plugin", [&] { return ByPlugin(path); }},
      {"none", [] { return 0; }},
  };
  const auto way = ways.find(argc > 1 ? argv[1] : "");
  return way != ways.end() ? way->second() : 2;
}
