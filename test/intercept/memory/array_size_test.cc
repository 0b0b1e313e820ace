// SPDX-License-Identifier: Apache-2.0
#include "intercept/memory/array_size.h"

#include <catch2/catch.hpp>
#include <limits>

namespace partage::intercept::memory {
namespace {

CUDA_ARRAY3D_DESCRIPTOR Array(size_t width, size_t height, size_t depth, unsigned format, unsigned channels, unsigned flags = 0) {
  return {width, height, depth, static_cast<CUarray_format>(format), channels, flags};
}

TEST_CASE("An array takes its elements times channels times the size of the format") {
  CHECK(ArrayBytes(Array(100, 0, 0, CU_AD_FORMAT_UNSIGNED_INT8, 1)) == 100);
  CHECK(ArrayBytes(Array(100, 50, 0, CU_AD_FORMAT_HALF, 2)) == 100 * 50 * 4);
  CHECK(ArrayBytes(Array(100, 50, 7, CU_AD_FORMAT_FLOAT, 4)) == 100 * 50 * 7 * 16);
  CHECK(ArrayBytes(Array(64, 64, 6, CU_AD_FORMAT_SIGNED_INT16, 1, CUDA_ARRAY3D_CUBEMAP)) == 64 * 64 * 6 * 2);
}

TEST_CASE("Arrays whose memory comes later take none") {
  CHECK(ArrayBytes(Array(100, 50, 0, CU_AD_FORMAT_FLOAT, 4, CUDA_ARRAY3D_SPARSE)) == 0);
  CHECK(MipmappedBytes(Array(100, 50, 0, CU_AD_FORMAT_FLOAT, 4, CUDA_ARRAY3D_DEFERRED_MAPPING), 3) == 0);
}

TEST_CASE("Block-compressed and planar formats are counted by their blocks and planes") {
  CHECK(ArrayBytes(Array(64, 64, 0, 0x91, 4)) == 16 * 16 * 8);      // BC1
  CHECK(ArrayBytes(Array(65, 61, 0, 0x9D, 4)) == 17 * 16 * 16);     // BC7, rounded up to blocks
  CHECK(ArrayBytes(Array(64, 64, 0, 0xB0, 3)) == 64 * 64 * 3 / 2);  // NV12
  CHECK(ArrayBytes(Array(64, 64, 0, 0xC5, 4)) == 64 * 64 * 8);      // UNORM_INT16X4
  CHECK(ArrayBytes(Array(64, 64, 0, 0xC8, 4)) == 64 * 64 * 4);      // SNORM_INT8X4
}

TEST_CASE("Mipmap levels halve every extent down to one, but never the number of layers") {
  CHECK(MipmappedBytes(Array(8, 4, 0, CU_AD_FORMAT_UNSIGNED_INT8, 1), 4) == 32 + 8 + 2 + 1);
  CHECK(MipmappedBytes(Array(4, 4, 4, CU_AD_FORMAT_UNSIGNED_INT8, 1), 3) == 64 + 8 + 1);
  CHECK(MipmappedBytes(Array(4, 4, 5, CU_AD_FORMAT_UNSIGNED_INT8, 1, CUDA_ARRAY3D_LAYERED), 3) == 5 * (16 + 4 + 1));
}

TEST_CASE("Sizes that no memory has saturate") {
  constexpr size_t kHuge = std::numeric_limits<size_t>::max() / 2;
  CHECK(ArrayBytes(Array(kHuge, kHuge, 2, CU_AD_FORMAT_FLOAT, 4)) == std::numeric_limits<std::uint64_t>::max());
  CHECK(MipmappedBytes(Array(kHuge, kHuge, 2, CU_AD_FORMAT_FLOAT, 4), 9) == std::numeric_limits<std::uint64_t>::max());
}

}  // namespace
}  // namespace partage::intercept::memory
