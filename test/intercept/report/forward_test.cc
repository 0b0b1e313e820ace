// SPDX-License-Identifier: Apache-2.0
// A process without limits that is linked with the driver still calls the exported hooks. Each must hand its arguments and the result through, once.
#include <catch2/catch.hpp>

#include <array>
#include <cstring>
#include <type_traits>
#include <utility>

#include "test/support/libcuda/client.h"

namespace partage::intercept {

// Weak: the table knows entry points of drivers newer than the newest fake one.
#define PARTAGE_CUDA_FUNCTION(ret, name, params, args, since, group) extern "C" [[gnu::weak]] ret name params;
#define PARTAGE_NVML_FUNCTION PARTAGE_CUDA_FUNCTION
#include "intercept/api/cuda_functions.inc"
#include "intercept/api/nvml_functions.inc"
#undef PARTAGE_NVML_FUNCTION
#undef PARTAGE_CUDA_FUNCTION

namespace {

using test::Child;

constexpr int kNewestFake = 13050;
constexpr int kCode = 777;  // no code of NVIDIA's

/// The i-th argument of a call: each another, and a pointer points to zeros.
template <class T>
T Argument(std::size_t i) {
  static std::array<char, 16 * 1024> zeros{};
  T value{};
  if constexpr (std::is_pointer_v<T>) {
    if constexpr (std::is_function_v<std::remove_pointer_t<T>>) return nullptr;
    void* const place = zeros.data() + 512 * i;
    std::memcpy(&value, &place, sizeof(value));
  } else {
    std::memset(&value, static_cast<int>(17 + i), sizeof(value));
  }
  return value;
}

/// As the fake driver notes them.
template <class T>
std::uint64_t Bits(const T& argument) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &argument, sizeof(T) < sizeof(bits) ? sizeof(T) : sizeof(bits));
  return bits;
}

template <class R, class... A, std::size_t... i>
R Call(R (*function)(A...), std::index_sequence<i...>) {
  return function(Argument<A>(i)...);
}

template <class R, class... A, std::size_t... i>
bool SameArguments(const char* name, R (*)(A...), std::index_sequence<i...>) {
  std::array<std::uint64_t, 16> seen{};
  if (fakeCudaArguments(name, seen.data(), static_cast<int>(seen.size())) != static_cast<int>(sizeof...(A))) return false;
  // What is larger than 64 bits is noted as a hash: then only the others are compared.
  return ((sizeof(A) > 8 || seen[i] == Bits(Argument<A>(i))) && ...);
}

/// One line about what went wrong; nothing when all is well.
template <class R, class... A>
bool Forwards(const char* name, R (*function)(A...), int (*fail)(const char*, int, uint64_t, uint64_t), int64_t (*calls)(const char*),
              bool compare) {
  constexpr auto kIndices = std::index_sequence_for<A...>{};
  const bool ordered = fail(name, kCode, 0, 0) == 0;
  const int64_t before = calls(name);
  const int result = ordered ? static_cast<int>(Call(function, kIndices)) : kCode;
  const bool same = !compare || !ordered || SameArguments(name, function, kIndices);
  const bool good = ordered && result == kCode && calls(name) == before + 1 && same;
  if (!good)
    std::fprintf(stderr, "%s: ordered %d result %d calls %+lld same %d\n", name, ordered, result,
                 static_cast<long long>(calls(name) - before), same);
  return good;
}

bool CudaForwards() {
  bool good = true;
#define PARTAGE_CUDA_FUNCTION(ret, name, params, args, since, group) \
  good = (since > kNewestFake || Forwards(#name, &name, fakeCudaFail, fakeCudaCalls, true)) && good;
#include "intercept/api/cuda_functions.inc"
#undef PARTAGE_CUDA_FUNCTION
  return good;
}

bool NvmlForwards() {
  bool good = true;
#define PARTAGE_NVML_FUNCTION(ret, name, params, args, since, group) \
  good = Forwards(#name, &name, fakeNvmlFail, fakeNvmlCalls, false) && good;
#include "intercept/api/nvml_functions.inc"
#undef PARTAGE_NVML_FUNCTION
  return good;
}

}  // namespace

TEST_CASE("Without limits every entry point of CUDA reaches the driver once, with its arguments, and its result comes back") {
  CHECK(Child({{"FAKE_CUDA", "device memory=16G"}}, [] { test::Expect(CudaForwards()); }).Good());
}

TEST_CASE("Without limits every entry point of NVML reaches the driver once, and its result comes back") {
  CHECK(Child({{"FAKE_CUDA", "device memory=16G"}}, [] { test::Expect(NvmlForwards()); }).Good());
}

}  // namespace partage::intercept
