// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/array_size.h"

namespace partage::intercept::memory {
namespace {

/// Formats by number; names are the driver's. Block-compressed ones count a block of 4 × 4 elements.
constexpr unsigned kNv12 = 0xB0, kBc1 = 0x91, kBc1Srgb = 0x92, kBc4 = 0x97, kBc4Signed = 0x98, kBc7Srgb = 0x9E;
constexpr unsigned kUnorm8x1 = 0xC0, kUnorm16x1 = 0xC3, kSnorm8x1 = 0xC6, kSnorm16x1 = 0xC9, kSnorm16x4 = 0xCB;

constexpr std::uint64_t kMost = ~std::uint64_t{0};

std::uint64_t Times(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? kMost : product;
}

std::uint64_t AtLeastOne(std::uint64_t extent) { return extent > 0 ? extent : 1; }

bool BlockCompressed(unsigned format) { return format >= kBc1 && format <= kBc7Srgb; }

/// Of one channel; formats from after our time count as the largest.
std::uint64_t ChannelBytes(unsigned format) {
  if (format >= kUnorm8x1 && format <= kSnorm16x4) return format < kUnorm16x1 || (format >= kSnorm8x1 && format < kSnorm16x1) ? 1 : 2;
  switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8: return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF: return 2;
    default: return 4;
  }
}

/// Of one plane of width × height.
std::uint64_t PlaneBytes(std::uint64_t width, std::uint64_t height, unsigned format, unsigned channels) {
  if (BlockCompressed(format)) {
    const bool small = format == kBc1 || format == kBc1Srgb || format == kBc4 || format == kBc4Signed;
    return Times(Times((width + 3) / 4, (height + 3) / 4), small ? 8 : 16);
  }
  const std::uint64_t elements = Times(width, height);
  if (format == kNv12) return elements > kMost / 2 ? kMost : elements + elements / 2;  // full brightness, quarter colour twice
  return Times(elements, ChannelBytes(format) * AtLeastOne(channels));
}

bool HasMemory(const CUDA_ARRAY3D_DESCRIPTOR& array) { return (array.Flags & (CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING)) == 0; }

}  // namespace

std::uint64_t ArrayBytes(const CUDA_ARRAY3D_DESCRIPTOR& array) {
  if (!HasMemory(array)) return 0;
  return Times(PlaneBytes(array.Width, AtLeastOne(array.Height), array.Format, array.NumChannels), AtLeastOne(array.Depth));
}

std::uint64_t MipmappedBytes(const CUDA_ARRAY3D_DESCRIPTOR& array, unsigned levels) {
  const bool layered = (array.Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP)) != 0;
  CUDA_ARRAY3D_DESCRIPTOR level = array;
  std::uint64_t sum = 0;
  for (unsigned i = 0; i < levels && i < 64; ++i) {
    if (__builtin_add_overflow(sum, ArrayBytes(level), &sum)) return kMost;
    level.Width = AtLeastOne(level.Width / 2);
    level.Height /= level.Height > 1 ? 2 : 1;
    if (!layered) level.Depth /= level.Depth > 1 ? 2 : 1;
  }
  return sum;
}

}  // namespace partage::intercept::memory
