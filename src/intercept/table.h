// SPDX-License-Identifier: Apache-2.0
// The rows of api/*.inc as C++: a number, a signature and the driver's own address for each entry point.
#pragma once

#include <cstdint>

#include "intercept/api/cuda.h"
#include "intercept/api/nvml.h"

namespace partage::intercept {

/// One entry point of the driver's libraries: every CUDA row, then every NVML row.
enum class Row : std::uint16_t {
#define PARTAGE_CUDA_FUNCTION(ret, name, params, args, since, group) name,
#include "intercept/api/cuda_functions.inc"
#undef PARTAGE_CUDA_FUNCTION
  kFirstNvml,
  kBeforeNvml = kFirstNvml - 1,
#define PARTAGE_NVML_FUNCTION(ret, name, params, args, since, group) name,
#include "intercept/api/nvml_functions.inc"
#undef PARTAGE_NVML_FUNCTION
  kCount,
};

inline constexpr unsigned kRows = static_cast<unsigned>(Row::kCount);
inline constexpr unsigned kFirstNvmlRow = static_cast<unsigned>(Row::kFirstNvml);

/// SignatureOf<Row::cuInit>::Type is CUresult(unsigned).
template <Row row>
struct SignatureOf;
#define PARTAGE_CUDA_FUNCTION(ret, name, params, args, since, group) \
  template <>                                                        \
  struct SignatureOf<Row::name> {                                    \
    using Type = ret params;                                         \
  };
#define PARTAGE_NVML_FUNCTION PARTAGE_CUDA_FUNCTION
#include "intercept/api/cuda_functions.inc"
#include "intercept/api/nvml_functions.inc"
#undef PARTAGE_NVML_FUNCTION
#undef PARTAGE_CUDA_FUNCTION

/// The driver's own addresses by row; null until the row's library is armed, and for what this driver does not have.
/// Written while arming, before anything is redirected; read as plain loads afterwards.
[[gnu::visibility("hidden")]] extern void* g_real[kRows];

/// The cold half of RealAddress: arms the row's library, then its address or that of a function which answers "not found" (CUDA_ERROR_NOT_FOUND,
/// NVML_ERROR_FUNCTION_NOT_FOUND; without any driver CUDA_ERROR_NO_DEVICE, NVML_ERROR_LIBRARY_NOT_FOUND). Never null.
void* ResolveReal(Row row);

/// Whether the armed driver has this entry point.
inline bool DriverHas(Row row) { return __atomic_load_n(&g_real[static_cast<unsigned>(row)], __ATOMIC_RELAXED) != nullptr; }

/// Where the driver's own code for the row begins. Never null.
inline void* RealAddress(Row row) {
  void* const address = __atomic_load_n(&g_real[static_cast<unsigned>(row)], __ATOMIC_RELAXED);
  return address != nullptr ? address : ResolveReal(row);
}

template <Row row, class Signature = typename SignatureOf<row>::Type>
struct DriverFunction;

template <Row row, class Ret, class... Args>
struct DriverFunction<row, Ret(Args...)> {
  /// Calls the driver's own function.
  static Ret Real(Args... args) { return reinterpret_cast<Ret (*)(Args...)>(RealAddress(row))(args...); }
};

/// Calls an entry point of the driver from anywhere, past its hook: CallReal<Row::cuCtxGetDevice>(&device).
template <Row row, class... Args>
auto CallReal(Args... args) {
  return DriverFunction<row>::Real(args...);
}

}  // namespace partage::intercept
