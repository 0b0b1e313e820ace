// SPDX-License-Identifier: Apache-2.0
// Times are checked for what must not be undercut, and loosely the other way: the machine may be busy.
#include <catch2/catch.hpp>
#include <chrono>

#include "test/support/libcuda/test/started.h"
#include "test/support/temp_folder.h"

namespace partage::test {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::time_point since) { return std::chrono::duration<double>(Clock::now() - since).count(); }

TEST_CASE("A kernel takes the time that its name or its parameter says, without holding up its caller") {
  Child child({}, [] {
    const Started cuda;
    int64_t ns = 30'000'000;
    void* parameters[] = {&ns};
    const auto start = Clock::now();
    Expect(cuda.Launch(cuda.Function("spin_20ms")) == CUDA_SUCCESS &&
           cuda.Launch(cuda.Function("spin_param"), nullptr, parameters) == CUDA_SUCCESS);
    Expect(Seconds(start) < 0.02 && cuda.cuStreamQuery(nullptr) == CUDA_ERROR_NOT_READY);
    Expect(cuda.cuCtxSynchronize() == CUDA_SUCCESS && Seconds(start) >= 0.05);
    Expect(cuda.cuStreamQuery(nullptr) == CUDA_SUCCESS);
  });
  CHECK(child.Good());
}

TEST_CASE("Events tell when work began and ended, however late they are asked") {
  Child child({}, [] {
    const Started cuda;
    CUevent start = nullptr, end = nullptr;
    float ms = 0;
    Expect(cuda.cuEventCreate(&start, 0) == CUDA_SUCCESS && cuda.cuEventCreate(&end, 0) == CUDA_SUCCESS);
    Expect(cuda.cuEventRecord(start, nullptr) == CUDA_SUCCESS && cuda.Launch(cuda.Function("spin_3ms")) == CUDA_SUCCESS);
    Expect(cuda.cuEventRecord(end, nullptr) == CUDA_SUCCESS && cuda.cuEventQuery(end) == CUDA_ERROR_NOT_READY);
    Expect(cuda.cuEventElapsedTime(&ms, start, end) == CUDA_ERROR_NOT_READY);
    usleep(20'000);
    Expect(cuda.cuEventQuery(end) == CUDA_SUCCESS && cuda.cuEventElapsedTime(&ms, start, end) == CUDA_SUCCESS);
    Expect(ms >= 3 && ms < 4);
  });
  CHECK(child.Good());
}

TEST_CASE("Launching blocks when too many launches are unfinished") {
  Child child({{"FAKE_CUDA", "queue 4"}}, [] {
    const Started cuda;
    const CUfunction kernel = cuda.Function("spin_10ms");
    const auto start = Clock::now();
    for (int i = 0; i < 4; ++i) Expect(cuda.Launch(kernel) == CUDA_SUCCESS);
    Expect(Seconds(start) < 0.01 && cuda.Launch(kernel) == CUDA_SUCCESS && Seconds(start) >= 0.01);
  });
  CHECK(child.Good());
}

TEST_CASE("A host function runs when the work before it is done, and a stream waits for it") {
  Child child({}, [] {
    const Started cuda;
    static bool called = false;
    Expect(cuda.Launch(cuda.Function("spin_5ms")) == CUDA_SUCCESS);
    Expect(cuda.cuLaunchHostFunc(
               nullptr, [](void* flag) { usleep(2000), *static_cast<bool*>(flag) = true; }, &called) == CUDA_SUCCESS);
    Expect(!called && cuda.cuStreamSynchronize(nullptr) == CUDA_SUCCESS && called);
  });
  CHECK(child.Good());
}

TEST_CASE("Two processes that keep a device busy each get half of it") {
  TempFolder folder;
  const Child::Environment shared = {{"FAKE_CUDA", "shm " + folder.path() + "/gpus"}};
  int ready[2], go[2];
  REQUIRE((pipe(ready) == 0 && pipe(go) == 0));
  const auto run = [&] {
    const Started cuda;
    const CUfunction kernel = cuda.Function("spin_1ms");
    char byte = 0;
    Expect(write(ready[1], "x", 1) == 1 && read(go[0], &byte, 1) == 1);
    const auto start = Clock::now();
    for (int i = 0; i < 100; ++i) Expect(cuda.Launch(kernel) == CUDA_SUCCESS);
    Expect(cuda.cuCtxSynchronize() == CUDA_SUCCESS);
    Expect(Seconds(start) >= 0.19 && Seconds(start) < 0.4);
  };
  Child a(shared, run), b(shared, run);
  char bytes[2];
  REQUIRE((read(ready[0], bytes, 1) == 1 && read(ready[0], bytes, 1) == 1 && write(go[1], "xx", 2) == 2));
  CHECK(a.Good());
  CHECK(b.Good());
}

TEST_CASE(
    "An event of a process that has nothing else to do waits for its turn, so what follows it is timed without the neighbour's turn") {
  TempFolder folder;
  const Child::Environment shared = {{"FAKE_CUDA", "slice 20ms; shm " + folder.path() + "/gpus"}};
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  Child neighbour(shared, [&] {
    const Started cuda;
    for (int i = 0; i < 12; ++i) Expect(cuda.Launch(cuda.Function("spin_50ms")) == CUDA_SUCCESS);
    Expect(write(ready[1], "x", 1) == 1 && cuda.cuCtxSynchronize() == CUDA_SUCCESS);
  });
  Child child(shared, [&] {
    const Started cuda;
    const CUfunction kernel = cuda.Function("spin_1ms");
    CUevent before = nullptr, after = nullptr;
    char byte = 0;
    Expect(cuda.cuEventCreate(&before, 0) == CUDA_SUCCESS && cuda.cuEventCreate(&after, 0) == CUDA_SUCCESS);
    Expect(read(ready[0], &byte, 1) == 1);
    for (int i = 0; i < 3; ++i) {
      float ms = 0;
      Expect(cuda.cuEventRecord(before, nullptr) == CUDA_SUCCESS && cuda.Launch(kernel) == CUDA_SUCCESS);
      Expect(cuda.cuEventRecord(after, nullptr) == CUDA_SUCCESS && cuda.cuEventSynchronize(after) == CUDA_SUCCESS);
      Expect(cuda.cuEventElapsedTime(&ms, before, after) == CUDA_SUCCESS && ms > 0.99F && ms < 1.1F);
    }
  });
  CHECK(child.Good());
  CHECK(neighbour.Good());
}

TEST_CASE("Copies take the time that the profile's bandwidth means") {
  Child child({{"FAKE_CUDA", "copy_bandwidth 1G"}}, [] {
    const Started cuda;
    CUdeviceptr pointer = 0;
    const auto start = Clock::now();
    Expect(cuda.cuMemAlloc_v2(&pointer, 32 << 20) == CUDA_SUCCESS && cuda.cuMemsetD8Async(pointer, 0, 32 << 20, nullptr) == CUDA_SUCCESS);
    Expect(cuda.cuStreamSynchronize(nullptr) == CUDA_SUCCESS && Seconds(start) >= 0.031);
  });
  CHECK(child.Good());
}

}  // namespace
}  // namespace partage::test
