// SPDX-License-Identifier: Apache-2.0
// Arrays and mipmapped arrays.
#include "intercept/hook.h"
#include "intercept/memory/array_size.h"
#include "intercept/memory/ledger.h"

namespace partage::intercept {
namespace {

using namespace memory;

constexpr Kinds kArrays{Kind::kArray};

template <class Descriptor>
CUresult Create(CUresult (*real)(CUarray*, const Descriptor*), CUarray* array, const Descriptor* descriptor) {
  const Entered entered;
  if (!entered || array == nullptr || descriptor == nullptr) return real(array, descriptor);
  return Allocated(
      Here(), Kind::kArray, ArrayBytes(Widened(*descriptor)), [&] { return real(array, descriptor); }, [&] { return KeyOf(*array); });
}

template <class Array>
CUresult Destroy(CUresult (*real)(Array), Array array) {
  const Entered entered;
  if (!entered) return real(array);
  return Freed(KeyOf(array), kArrays, [&] { return real(array); });
}

}  // namespace

PARTAGE_HOOK(CUresult, cuArrayCreate, (CUarray * p_handle, const CUDA_ARRAY_DESCRIPTOR_v1* p_allocate_array)) {
  return Create(Real, p_handle, p_allocate_array);
}
PARTAGE_HOOK(CUresult, cuArrayCreate_v2, (CUarray * p_handle, const CUDA_ARRAY_DESCRIPTOR* p_allocate_array)) {
  return Create(Real, p_handle, p_allocate_array);
}
PARTAGE_HOOK(CUresult, cuArray3DCreate, (CUarray * p_handle, const CUDA_ARRAY3D_DESCRIPTOR_v1* p_allocate_array)) {
  return Create(Real, p_handle, p_allocate_array);
}
PARTAGE_HOOK(CUresult, cuArray3DCreate_v2, (CUarray * p_handle, const CUDA_ARRAY3D_DESCRIPTOR* p_allocate_array)) {
  return Create(Real, p_handle, p_allocate_array);
}

PARTAGE_HOOK(CUresult, cuMipmappedArrayCreate,
             (CUmipmappedArray * p_handle, const CUDA_ARRAY3D_DESCRIPTOR* p_mipmapped_array_desc, unsigned num_mipmap_levels)) {
  const Entered entered;
  const auto forward = [&] { return Real(p_handle, p_mipmapped_array_desc, num_mipmap_levels); };
  if (!entered || p_handle == nullptr || p_mipmapped_array_desc == nullptr) return forward();
  return Allocated(Here(), Kind::kArray, MipmappedBytes(*p_mipmapped_array_desc, num_mipmap_levels), forward,
                   [&] { return KeyOf(*p_handle); });
}

PARTAGE_HOOK(CUresult, cuArrayDestroy, (CUarray array)) { return Destroy(Real, array); }
PARTAGE_HOOK(CUresult, cuMipmappedArrayDestroy, (CUmipmappedArray mipmapped_array)) { return Destroy(Real, mipmapped_array); }

}  // namespace partage::intercept
