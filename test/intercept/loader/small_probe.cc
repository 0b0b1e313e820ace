// SPDX-License-Identifier: Apache-2.0
// The loader probe's core without a C++ library, so that it can be built for any libc and machine: opens the driver by name, by the path in its argument
// and in a namespace of its own, and prints what memory each says there is; then allocates, to the last byte and from several threads.
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
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

static constexpr size_t kLimit = size_t{1} << 30;

static int (*g_allocate)(unsigned long long*, size_t);
static int (*g_free)(unsigned long long);

static bool Find(void* handle) {
  if (handle == nullptr) return false;
  g_allocate = reinterpret_cast<decltype(g_allocate)>(dlsym(handle, "cuMemAlloc_v2"));
  g_free = reinterpret_cast<decltype(g_free)>(dlsym(handle, "cuMemFree_v2"));
  return g_allocate != nullptr && g_free != nullptr;
}

/// To the last byte, and one more.
static void Fill(const char* way) {
  unsigned long long much = 0, most = 0, more = 0;
  const int over = g_allocate(&much, kLimit + 1);
  const int full = g_allocate(&most, kLimit);
  const int beyond = g_allocate(&more, 1);
  const int freed = g_free(most);
  printf("%s over %d full %d beyond %d freed %d\n", way, over, full, beyond, freed);
  fflush(stdout);
}

static size_t g_held, g_most, g_given, g_refused;

/// Allocates and frees what together would be twice the limit.
static void* Compete(void* seed) {
  unsigned long long state = reinterpret_cast<size_t>(seed) + 1;
  for (int i = 0; i < 5000; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    const size_t bytes = (state >> 33) % kLimit + 1;
    unsigned long long pointer = 0;
    if (g_allocate(&pointer, bytes) != 0) {
      __atomic_fetch_add(&g_refused, 1, __ATOMIC_RELAXED);
      continue;
    }
    const size_t held = __atomic_add_fetch(&g_held, bytes, __ATOMIC_SEQ_CST);
    size_t most = __atomic_load_n(&g_most, __ATOMIC_RELAXED);
    while (held > most && !__atomic_compare_exchange_n(&g_most, &most, held, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    __atomic_fetch_add(&g_given, 1, __ATOMIC_RELAXED);
    if (i % 16 == 0) sched_yield();
    __atomic_fetch_sub(&g_held, bytes, __ATOMIC_SEQ_CST);
    g_free(pointer);
  }
  return nullptr;
}

static void CompeteInThreads() {
  pthread_t threads[4];
  for (size_t i = 0; i < 4; ++i) pthread_create(&threads[i], nullptr, Compete, reinterpret_cast<void*>(i));
  for (pthread_t thread : threads) pthread_join(thread, nullptr);
  printf("threads were %s, %s, %s\n", g_given > 0 ? "given" : "given nothing", g_refused > 0 ? "refused" : "refused nothing",
         g_most <= kLimit ? "within the limit" : "beyond the limit");
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
  if (!Find(dlopen("libcuda.so.1", RTLD_NOW))) return printf("nothing to allocate with\n"), 1;
  Fill("first");
  CompeteInThreads();
  Fill("again");
  return 0;
}
