// SPDX-License-Identifier: Apache-2.0
// Linear memory: cuMemAlloc and its family. Freed here is also what pools gave and what other APIs mapped: the pointer says which.
#include "intercept/hook.h"
#include "intercept/memory/ledger.h"
#include "intercept/memory/reserve.h"
#include "intercept/share.h"

namespace partage::intercept {
namespace {

using namespace memory;

/// Everything that cuMemFree and cuMemFreeAsync may be given.
constexpr Kinds kPointers{Kind::kLinear, Kind::kManaged, Kind::kPool};

/// cuMemAlloc on a full device whose share may be larger: managed memory, which the driver moves to the host and back as it is touched. The share was
/// charged for it already.
CUresult Spilled(CUdeviceptr* pointer, std::size_t bytes) {
  return CallReal<Row::cuMemAllocManaged>(pointer, bytes, unsigned{CU_MEM_ATTACH_GLOBAL});
}

template <class Pointer, class Size, class... More>
CUresult Linear(Kind kind, CUresult (*real)(Pointer*, Size, More...), Pointer* pointer, Size bytes, More... more) {
  const Entered entered;
  if (!entered || pointer == nullptr) return real(pointer, bytes, more...);
  const Place place = Here();
  const auto allocate = [&] {
    const CUresult result = real(pointer, bytes, more...);
    if constexpr (std::is_same_v<Pointer, CUdeviceptr>) {
      if (result == CUDA_ERROR_OUT_OF_MEMORY && kind == Kind::kLinear && place.device >= 0 && Oversubscribed(place.device))
        return Spilled(pointer, bytes);
    }
    return result;
  };
  return Allocated(place, kind, bytes, allocate, [&] { return std::uint64_t{*pointer}; });
}

template <class Pointer>
CUresult Free(CUresult (*real)(Pointer), Pointer pointer) {
  const Entered entered;
  if (!entered) return real(pointer);
  const CUresult result = Freed(pointer, kPointers, [&] { return real(pointer); });
  SettleStalePools();  // cuMemFree waits for the device, so what was freed into pools may have left them
  return result;
}

/// Rows are padded to this on every GPU so far; a driver that pads more is charged for more after the fact.
constexpr std::uint64_t kPitch = 512;

template <class Pointer, class Size>
CUresult Pitched(CUresult (*real)(Pointer*, Size*, Size, Size, unsigned), Pointer* pointer, Size* pitch, Size width, Size height,
                 unsigned element) {
  const Entered entered;
  const Place place = entered && pointer != nullptr && pitch != nullptr ? Here() : Place{};
  if (place.device < 0) return real(pointer, pitch, width, height, element);
  std::uint64_t most = 0;
  if (__builtin_add_overflow(std::uint64_t{width}, kPitch - 1, &most) ||
      __builtin_mul_overflow(most / kPitch * kPitch, std::uint64_t{height}, &most)) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  if (!Afford(place.device, MemoryClass::kLinear, most)) return CUDA_ERROR_OUT_OF_MEMORY;
  const CUresult result = real(pointer, pitch, width, height, element);
  const std::uint64_t bytes = result == CUDA_SUCCESS ? std::uint64_t{*pitch} * height : 0;
  if (bytes < most) Refund(place.device, MemoryClass::kLinear, most - bytes);
  if (bytes > most) Charge(place.device, MemoryClass::kLinear, bytes - most);
  if (result == CUDA_SUCCESS) Record(*pointer, Kind::kLinear, place, bytes);
  return result;
}

}  // namespace

PARTAGE_HOOK(CUresult, cuMemAlloc, (CUdeviceptr_v1 * dptr, unsigned bytesize)) { return Linear(Kind::kLinear, Real, dptr, bytesize); }
PARTAGE_HOOK(CUresult, cuMemAlloc_v2, (CUdeviceptr * dptr, size_t bytesize)) { return Linear(Kind::kLinear, Real, dptr, bytesize); }
PARTAGE_HOOK(CUresult, cuMemAllocManaged, (CUdeviceptr * dptr, size_t bytesize, unsigned flags)) {
  return Linear(Kind::kManaged, Real, dptr, bytesize, flags);
}

PARTAGE_HOOK(CUresult, cuMemAllocPitch,
             (CUdeviceptr_v1 * dptr, unsigned* p_pitch, unsigned width_in_bytes, unsigned height, unsigned element_size_bytes)) {
  return Pitched(Real, dptr, p_pitch, width_in_bytes, height, element_size_bytes);
}
PARTAGE_HOOK(CUresult, cuMemAllocPitch_v2,
             (CUdeviceptr * dptr, size_t* p_pitch, size_t width_in_bytes, size_t height, unsigned element_size_bytes)) {
  return Pitched(Real, dptr, p_pitch, width_in_bytes, height, element_size_bytes);
}

PARTAGE_HOOK(CUresult, cuMemFree, (CUdeviceptr_v1 dptr)) { return Free(Real, dptr); }
PARTAGE_HOOK(CUresult, cuMemFree_v2, (CUdeviceptr dptr)) { return Free(Real, dptr); }

// Given linear memory, it frees that too; given a pool's, the memory stays with the pool until the stream has passed here.
PARTAGE_HOOK(CUresult, cuMemFreeAsync, (CUdeviceptr dptr, CUstream stream)) {
  const Entered entered;
  if (!entered) return Real(dptr, stream);
  return Freed(dptr, kPointers, [&] { return Real(dptr, stream); });
}
PARTAGE_HOOK(CUresult, cuMemFreeAsync_ptsz, (CUdeviceptr dptr, CUstream stream)) {
  const Entered entered;
  if (!entered) return Real(dptr, stream);
  return Freed(dptr, kPointers, [&] { return Real(dptr, stream); });
}

}  // namespace partage::intercept
