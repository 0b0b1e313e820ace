// SPDX-License-Identifier: Apache-2.0
// All kinds of memory at once, on several threads of one process, in a share that is too small for them.
#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <thread>
#include <vector>

#include "test/intercept/memory/gpu.h"
#include "test/intercept/memory/tenants.h"

namespace partage::intercept {
namespace {

constexpr std::uint64_t kLimit = 96 * kMiB;
constexpr std::uint64_t kContext = 10 * kMiB;
constexpr std::uint64_t kPage = 2 * kMiB;

/// One thread's memory. Every call must answer "done" or "does not fit".
class Mixer {
 public:
  explicit Mixer(unsigned seed) : random_(seed) { Note(cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING)); }
  ~Mixer() {
    while (!linear_.empty() || !streamed_.empty()) FreeLinear(), FreeStreamed();
    cuStreamSynchronize(stream_);
    cuStreamDestroy_v2(stream_);
  }
  Mixer(const Mixer&) = delete;
  Mixer& operator=(const Mixer&) = delete;

  void Step() {
    constexpr void (Mixer::*kSteps[])() = {&Mixer::Linear,       &Mixer::Linear, &Mixer::Streamed, &Mixer::Streamed, &Mixer::FreeLinear,
                                           &Mixer::FreeStreamed, &Mixer::Mapped, &Mixer::Pool,     &Mixer::Loaded,   &Mixer::Wait};
    (this->*kSteps[random_() % std::size(kSteps)])();
  }

  bool fine() const { return fine_; }

 private:
  bool Note(CUresult result) {
    if (result != CUDA_SUCCESS && result != CUDA_ERROR_OUT_OF_MEMORY) fine_ = false;
    return result == CUDA_SUCCESS;
  }
  std::size_t Bytes() { return random_() % (8 * kMiB) + 1; }

  void Linear() {
    if (CUdeviceptr pointer = 0; Note(cuMemAlloc_v2(&pointer, Bytes()))) linear_.push_back(pointer);
  }
  void Streamed() {
    if (CUdeviceptr pointer = 0; Note(cuMemAllocAsync(&pointer, Bytes(), stream_))) streamed_.push_back(pointer);
  }
  /// By either way of freeing, as both may free both.
  void Free(std::vector<CUdeviceptr>& from) {
    if (from.empty()) return;
    Note(random_() % 2 == 0 ? cuMemFree_v2(from.back()) : cuMemFreeAsync(from.back(), stream_));
    from.pop_back();
  }
  void FreeLinear() { Free(linear_); }
  void FreeStreamed() { Free(streamed_); }
  void Mapped() {
    const CUmemAllocationProp properties{.type = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    CUmemGenericAllocationHandle handle = 0;
    CUdeviceptr address = 0;
    if (!Note(cuMemCreate(&handle, kPage, &properties, 0))) return;
    Note(cuMemAddressReserve(&address, kPage, 0, 0, 0));
    Note(cuMemMap(address, kPage, 0, handle, 0));
    Note(cuMemRelease(handle));
    Note(cuMemUnmap(address, kPage));
    Note(cuMemAddressFree(address, kPage));
  }
  void Pool() {
    const CUmemPoolProps properties{.allocType = CU_MEM_ALLOCATION_TYPE_PINNED, .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    CUmemoryPool pool = nullptr;
    CUdeviceptr pointer = 0;
    Note(cuMemPoolCreate(&pool, &properties));
    if (Note(cuMemAllocFromPoolAsync(&pointer, 100, pool, stream_))) Note(cuMemFreeAsync(pointer, stream_));
    Note(cuMemPoolDestroy(pool));
  }
  void Loaded() {
    if (CUmodule module = nullptr; Note(cuModuleLoadData(&module, "image"))) Note(cuModuleUnload(module));
  }
  void Wait() { Note(cuStreamSynchronize(stream_)); }

  std::mt19937 random_;
  CUstream stream_ = nullptr;
  std::vector<CUdeviceptr> linear_, streamed_;
  bool fine_ = true;
};

TEST_CASE("Threads that mix all kinds of memory in a small share see nothing but room or none, and leave only the context charged") {
  const Tenants tenants(kLimit, "device memory=16G; context 10M; module 1M; pool_chunk 2M");
  CHECK(Succeeded(Child([&] {
    CUcontext context = Start();
    std::atomic<bool> fine{true};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 5; ++t) {
      threads.emplace_back([&, t] {
        if (cuCtxSetCurrent(context) != CUDA_SUCCESS) fine = false;
        Mixer mixer(t);
        for (int step = 0; step < 1500; ++step) mixer.Step();
        if (!mixer.fine()) fine = false;
      });
    }
    for (auto& thread : threads) thread.join();
    cuCtxSynchronize();
    return fine && tenants.Used() == kContext;
  })));
}

}  // namespace
}  // namespace partage::intercept
