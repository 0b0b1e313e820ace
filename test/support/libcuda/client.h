// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "src/intercept/api/cuda.h"
#include "src/intercept/api/nvml.h"
#include "test/support/libcuda/control.h"

namespace partage::test {

using namespace intercept;

/// Where the fake driver of a branch lies, e.g. "550"; FAKE_DRIVER_FOLDER comes from the build.
inline std::string FakeDriverFile(const std::string& branch, const std::string& library) {
  return std::string(FAKE_DRIVER_FOLDER) + "/" + branch + "/" + library;
}

/// Every entry point of a libcuda.so.1 and its controls as typed pointers; null where the library has none.
struct CudaClient {
  explicit CudaClient(const std::string& file) : handle(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (handle == nullptr) std::fprintf(stderr, "%s\n", dlerror());
#define PARTAGE_CUDA_FUNCTION(result, name, parameters, arguments, since, group) name = Symbol<decltype(name)>(#name);
#include "src/intercept/api/cuda_functions.inc"
#undef PARTAGE_CUDA_FUNCTION
  }

  template <class Pointer>
  Pointer Symbol(const char* symbol) const {
    return handle == nullptr ? nullptr : reinterpret_cast<Pointer>(dlsym(handle, symbol));
  }

  void* handle;
#define PARTAGE_CUDA_FUNCTION(result, name, parameters, arguments, since, group) result(*name) parameters = nullptr;
#include "src/intercept/api/cuda_functions.inc"
#undef PARTAGE_CUDA_FUNCTION
  decltype(&::fakeCudaCalls) calls = Symbol<decltype(calls)>("fakeCudaCalls");
  decltype(&::fakeCudaArguments) arguments = Symbol<decltype(arguments)>("fakeCudaArguments");
  decltype(&::fakeCudaFail) fail = Symbol<decltype(fail)>("fakeCudaFail");
  decltype(&::fakeCudaAddress) address = Symbol<decltype(address)>("fakeCudaAddress");
  decltype(&::fakeCudaReset) reset = Symbol<decltype(reset)>("fakeCudaReset");
};

/// The same for libnvidia-ml.so.1.
struct NvmlClient {
  explicit NvmlClient(const std::string& file) : handle(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) {
#define PARTAGE_NVML_FUNCTION(result, name, parameters, arguments, since, group) \
  name = reinterpret_cast<decltype(name)>(dlsym(handle, #name));
#include "src/intercept/api/nvml_functions.inc"
#undef PARTAGE_NVML_FUNCTION
  }

  void* handle;
#define PARTAGE_NVML_FUNCTION(result, name, parameters, arguments, since, group) result(*name) parameters = nullptr;
#include "src/intercept/api/nvml_functions.inc"
#undef PARTAGE_NVML_FUNCTION
};

/// In a child process: ends it where `good` does not hold, naming the place.
inline void Expect(bool good, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (good) return;
  std::fprintf(stderr, "%s:%d: expectation does not hold\n", file, line);
  _exit(1);
}

/// A child process that ran `body` with these variables in its environment: a fake driver has one profile for the whole life of a process.
class Child {
 public:
  using Environment = std::map<std::string, std::string>;

  template <class Body>
  Child(const Environment& environment, Body body) : pid_(fork()) {
    if (pid_ != 0) return;
    for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGTERM}) std::signal(signal, SIG_DFL);  // not the test framework's
    for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
    body();
    _exit(0);
  }
  ~Child() { Wait(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  /// Whether everything it expected held.
  bool Good() {
    Wait();
    return WIFEXITED(status_) && WEXITSTATUS(status_) == 0;
  }

 private:
  void Wait() {
    if (!waited_) waitpid(pid_, &status_, 0);
    waited_ = true;
  }

  pid_t pid_;
  int status_ = 0;
  bool waited_ = false;
};

}  // namespace partage::test
