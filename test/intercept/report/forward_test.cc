// SPDX-License-Identifier: Apache-2.0
// A process without limits that is linked with the driver still calls the exported hooks. Each must hand its arguments, the result and what the driver
// wrote through, and ask the driver once. On a fake driver that has every entry point of the table, also those newer than any real one.
#include <catch2/catch.hpp>

#include <array>
#include <cstring>
#include <type_traits>
#include <utility>

#include "test/support/libcuda/calls.h"
#include "test/support/libcuda/client.h"
#include "test/support/libcuda/linked.h"

namespace partage::intercept {

namespace {

using test::Child;

constexpr int kCode = 777;  // no code of NVIDIA's
constexpr std::size_t kRoom = 512;

/// What pointers among the arguments point to, kRoom bytes each: neither zeros nor a pointer nor a number that anybody would write.
std::array<unsigned char, 16 * kRoom> g_memory;
void FillMemory() {
  g_memory.fill(0x5a);
  for (std::size_t end = kRoom; end <= g_memory.size(); end += kRoom) g_memory[end - 1] = 0;  // names end
}
bool MemoryIsUntouched() {
  const auto now = g_memory;
  FillMemory();
  return now == g_memory;
}

/// The i-th argument of a call: each another.
template <class T>
T Argument(std::size_t i) {
  T value{};
  if constexpr (std::is_pointer_v<T>) {
    if constexpr (std::is_function_v<std::remove_pointer_t<T>>) return nullptr;
    void* const place = g_memory.data() + kRoom * i;
    std::memcpy(&value, &place, sizeof(value));
  } else {
    std::memset(&value, static_cast<int>(17 + i), sizeof(value));
  }
  return value;
}

template <class R, class... A, std::size_t... i>
R Call(R (*function)(A...), std::index_sequence<i...>) {
  return function(Argument<A>(i)...);
}

/// One of the two libraries' controls.
struct Library {
  decltype(&fakeCudaFail) fail;
  decltype(&fakeCudaCalls) calls;
  decltype(&fakeCudaArguments) arguments;
};
constexpr Library kCuda = {fakeCudaFail, fakeCudaCalls, fakeCudaArguments};
constexpr Library kNvml = {fakeNvmlFail, fakeNvmlCalls, fakeNvmlArguments};

template <class R, class... A, std::size_t... i>
bool SameArguments(const Library& library, const char* name, R (*)(A...), std::index_sequence<i...>) {
  std::array<std::uint64_t, fake_gpu::kMaxArguments> seen{};
  if (library.arguments(name, seen.data(), static_cast<int>(seen.size())) != static_cast<int>(sizeof...(A))) return false;
  return ((seen[i] == fake_gpu::ArgumentBits(Argument<A>(i))) && ...);
}

/// The driver answers `code` and does nothing: so what comes back, and what lies where outputs would go, can only be wrong by the hook's doing.
template <class R, class... A>
bool Forwards(const Library& library, const char* name, R (*function)(A...), int code) {
  constexpr auto kIndices = std::index_sequence_for<A...>{};
  const bool ordered = library.fail(name, code, 0, 0) == 0;
  const int64_t before = library.calls(name);
  const int result = ordered ? static_cast<int>(Call(function, kIndices)) : 0;
  const bool same = SameArguments(library, name, function, kIndices);
  const bool untouched = MemoryIsUntouched();
  library.fail(name, 0, 0, 0);
  const bool good = ordered && result == (code == kFakeNothing ? 0 : code) && library.calls(name) == before + 1 && same && untouched;
  if (!good)
    std::fprintf(stderr, "%s, code %d: ordered %d result %d calls %+lld same %d untouched %d\n", name, code, ordered, result,
                 static_cast<long long>(library.calls(name) - before), same, untouched);
  return good;
}

bool CudaForwards(int code) {
  bool good = true;
  FillMemory();
#define PARTAGE_CUDA_FUNCTION(ret, name, params, args, since, group) good = Forwards(kCuda, #name, &name, code) && good;
#include "intercept/api/cuda_functions.inc"
#undef PARTAGE_CUDA_FUNCTION
  return good;
}

bool NvmlForwards(int code) {
  bool good = true;
  FillMemory();
#define PARTAGE_NVML_FUNCTION(ret, name, params, args, since, group) good = Forwards(kNvml, #name, &name, code) && good;
#include "intercept/api/nvml_functions.inc"
#undef PARTAGE_NVML_FUNCTION
  return good;
}

}  // namespace

TEST_CASE("Without limits every entry point of CUDA reaches the driver once, with its arguments, and its result comes back") {
  CHECK(Child({{"FAKE_CUDA", "device memory=16G"}}, [] { test::Expect(CudaForwards(kCode)); }).Good());
}

TEST_CASE("Without limits every entry point of NVML reaches the driver once, with its arguments, and its result comes back") {
  CHECK(Child({{"FAKE_CUDA", "device memory=16G"}}, [] { test::Expect(NvmlForwards(kCode)); }).Good());
}

TEST_CASE("Without limits nothing is written where the driver put its outputs") {
  CHECK(Child({{"FAKE_CUDA", "device memory=16G"}}, [] { test::Expect(CudaForwards(kFakeNothing)); }).Good());
  CHECK(Child({{"FAKE_CUDA", "device memory=16G"}}, [] { test::Expect(NvmlForwards(kFakeNothing)); }).Good());
}

}  // namespace partage::intercept
