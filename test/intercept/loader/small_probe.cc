// SPDX-License-Identifier: Apache-2.0
// The loader probe's core without a C++ library, so that it can be built for any libc and machine: opens the driver by name, by the path in its argument
// and in a namespace of its own, and prints what memory each says there is.
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void Tell(const char* way, void* handle) {
  using MemGetInfo = int (*)(size_t*, size_t*);
  size_t free = 0;
  size_t total = 0;
  auto* const ask = handle != nullptr ? reinterpret_cast<MemGetInfo>(dlsym(handle, "cuMemGetInfo_v2")) : nullptr;
  const int result = ask != nullptr ? ask(&free, &total) : -1;
  const bool own = handle != nullptr && dlsym(handle, "cuDriverGetVersion") != nullptr;
  printf("%s %d %zu %s\n", way, result, total >> 20, own ? "whole" : "in part");
  fflush(stdout);
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  Tell("name", dlopen("libcuda.so.1", RTLD_NOW));
  Tell("path", dlopen(argv[1], RTLD_NOW | RTLD_DEEPBIND));
  Tell("namespace", dlmopen(LM_ID_NEWLM, "libcuda.so.1", RTLD_NOW));
  const pid_t child = fork();
  if (child == 0) {
    Tell("child", dlopen("libcuda.so.1", RTLD_NOW));
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  printf("ended %d\n", status);
  return 0;
}
