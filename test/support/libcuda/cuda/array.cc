// SPDX-License-Identifier: Apache-2.0
// Arrays and mipmapped arrays: opaque, so only their size counts.
#include <algorithm>

#include "test/support/libcuda/cuda/driver.h"

namespace partage::fake_gpu {
namespace {

uint64_t FormatBytes(CUarray_format format) {
  switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8: return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF: return 2;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT: return 4;
  }
  return 0;
}

uint64_t LevelBytes(const CUDA_ARRAY3D_DESCRIPTOR& d, unsigned level) {
  const bool layered = (d.Flags & CUDA_ARRAY3D_LAYERED) != 0;
  const auto halved = [&](size_t extent) { return std::max<uint64_t>(1, extent >> level); };
  const uint64_t depth = layered ? std::max<uint64_t>(1, d.Depth) : halved(d.Depth);
  return halved(d.Width) * halved(d.Height) * depth * FormatBytes(d.Format) * d.NumChannels;
}

uint64_t Bytes(const CUDA_ARRAY3D_DESCRIPTOR& descriptor, unsigned levels) {
  uint64_t sum = 0;
  for (unsigned level = 0; level < levels; ++level) sum += LevelBytes(descriptor, level);
  return RoundUp(sum, Profile::Get().array_granularity);
}

bool Valid(const CUDA_ARRAY3D_DESCRIPTOR& d) {
  return d.Width > 0 && FormatBytes(d.Format) > 0 && d.NumChannels >= 1 && d.NumChannels <= 4;
}

CUresult Create(CUarray* out, const CUDA_ARRAY3D_DESCRIPTOR& descriptor, unsigned levels) {
  return InContext([&](Driver& driver, Context& context) {
    if (out == nullptr || !Valid(descriptor) || levels == 0) return CUDA_ERROR_INVALID_VALUE;
    const bool backed_later = (descriptor.Flags & (CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING)) != 0;
    const uint64_t bytes = backed_later ? 0 : Bytes(descriptor, levels);
    if (!Gpus::Get().Reserve(context.gpu, bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
    *out = driver.arrays.Add({.context = &context, .descriptor = descriptor, .levels = levels, .bytes = bytes});
    return CUDA_SUCCESS;
  });
}

CUDA_ARRAY3D_DESCRIPTOR Widen(const CUDA_ARRAY_DESCRIPTOR& d) {
  return {.Width = d.Width, .Height = d.Height, .Depth = 0, .Format = d.Format, .NumChannels = d.NumChannels, .Flags = 0};
}

CUresult Destroy(CUarray handle) {
  return InContext([&](Driver& driver, Context&) {
    const Array* array = driver.arrays.Find(handle);
    if (array == nullptr || !array->owned) return CUDA_ERROR_INVALID_HANDLE;
    Gpus::Get().Release(array->context->gpu, array->bytes);
    driver.arrays.Remove(handle);
    return CUDA_SUCCESS;
  });
}

CUresult Requirements(CUDA_ARRAY_MEMORY_REQUIREMENTS* out, CUarray handle) {
  return InContext([&](Driver& driver, Context&) {
    const Array* array = driver.arrays.Find(handle);
    if (out == nullptr || array == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *out = {.size = Bytes(array->descriptor, array->levels), .alignment = Profile::Get().array_granularity};
    return CUDA_SUCCESS;
  });
}

}  // namespace

FAKE_CUDA(cuArrayCreate_v2)(CUarray* out, const CUDA_ARRAY_DESCRIPTOR* descriptor) {
  return descriptor == nullptr ? CUDA_ERROR_INVALID_VALUE : Create(out, Widen(*descriptor), 1);
}

FAKE_CUDA(cuArray3DCreate_v2)(CUarray* out, const CUDA_ARRAY3D_DESCRIPTOR* descriptor) {
  return descriptor == nullptr ? CUDA_ERROR_INVALID_VALUE : Create(out, *descriptor, 1);
}

FAKE_CUDA(cuArrayCreate)(CUarray* out, const CUDA_ARRAY_DESCRIPTOR_v1* d) {
  if (d == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return Create(out, Widen({d->Width, d->Height, d->Format, d->NumChannels}), 1);
}

FAKE_CUDA(cuArray3DCreate)(CUarray* out, const CUDA_ARRAY3D_DESCRIPTOR_v1* d) {
  if (d == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return Create(out, {d->Width, d->Height, d->Depth, d->Format, d->NumChannels, d->Flags}, 1);
}

FAKE_CUDA(cuMipmappedArrayCreate)(CUmipmappedArray* out, const CUDA_ARRAY3D_DESCRIPTOR* descriptor, unsigned levels) {
  return descriptor == nullptr ? CUDA_ERROR_INVALID_VALUE : Create(reinterpret_cast<CUarray*>(out), *descriptor, levels);
}

FAKE_CUDA(cuArrayDestroy)(CUarray handle) { return Destroy(handle); }
FAKE_CUDA(cuMipmappedArrayDestroy)(CUmipmappedArray handle) { return Destroy(reinterpret_cast<CUarray>(handle)); }

FAKE_CUDA(cuArrayGetMemoryRequirements)(CUDA_ARRAY_MEMORY_REQUIREMENTS* out, CUarray handle, CUdevice) { return Requirements(out, handle); }
FAKE_CUDA(cuMipmappedArrayGetMemoryRequirements)(CUDA_ARRAY_MEMORY_REQUIREMENTS* out, CUmipmappedArray handle, CUdevice) {
  return Requirements(out, reinterpret_cast<CUarray>(handle));
}

FAKE_CUDA(cuArray3DGetDescriptor_v2)(CUDA_ARRAY3D_DESCRIPTOR* out, CUarray handle) {
  return InContext([&](Driver& driver, Context&) {
    const Array* array = driver.arrays.Find(handle);
    return out == nullptr || array == nullptr ? CUDA_ERROR_INVALID_VALUE : (*out = array->descriptor, CUDA_SUCCESS);
  });
}

FAKE_CUDA(cuArrayGetDescriptor_v2)(CUDA_ARRAY_DESCRIPTOR* out, CUarray handle) {
  CUDA_ARRAY3D_DESCRIPTOR descriptor{};
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUresult result = fake_cuArray3DGetDescriptor_v2(&descriptor, handle);
  if (result == CUDA_SUCCESS) *out = {descriptor.Width, descriptor.Height, descriptor.Format, descriptor.NumChannels};
  return result;
}

FAKE_CUDA(cuMipmappedArrayGetLevel)(CUarray* out, CUmipmappedArray handle, unsigned level) {
  return InContext([&](Driver& driver, Context& context) {
    const Array* array = driver.arrays.Find(reinterpret_cast<CUarray>(handle));
    if (out == nullptr || array == nullptr || level >= array->levels) return CUDA_ERROR_INVALID_VALUE;
    CUDA_ARRAY3D_DESCRIPTOR descriptor = array->descriptor;
    descriptor.Width = std::max<size_t>(1, descriptor.Width >> level);
    descriptor.Height >>= level;
    *out = driver.arrays.Add({.context = &context, .descriptor = descriptor, .owned = false});
    return CUDA_SUCCESS;
  });
}

}  // namespace partage::fake_gpu
