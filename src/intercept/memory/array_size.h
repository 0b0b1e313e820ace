// SPDX-License-Identifier: Apache-2.0
// How much device memory an array takes. Pure functions.
#pragma once

#include <cstdint>

#include "intercept/api/cuda.h"

namespace partage::intercept::memory {

/// Bytes of an array: elements × channels × size of the format, without the driver's padding, which no call reveals before or after. 0 for arrays that
/// have no memory of their own (sparse, or mapped later). Saturates instead of overflowing.
std::uint64_t ArrayBytes(const CUDA_ARRAY3D_DESCRIPTOR& array);

/// The same for all levels of a mipmapped array; each level halves every extent but the number of layers.
std::uint64_t MipmappedBytes(const CUDA_ARRAY3D_DESCRIPTOR& array, unsigned levels);

/// Older and simpler descriptors, widened.
inline CUDA_ARRAY3D_DESCRIPTOR Widened(const CUDA_ARRAY_DESCRIPTOR& d) { return {d.Width, d.Height, 0, d.Format, d.NumChannels, 0}; }
inline CUDA_ARRAY3D_DESCRIPTOR Widened(const CUDA_ARRAY_DESCRIPTOR_v1& d) { return {d.Width, d.Height, 0, d.Format, d.NumChannels, 0}; }
inline CUDA_ARRAY3D_DESCRIPTOR Widened(const CUDA_ARRAY3D_DESCRIPTOR_v1& d) {
  return {d.Width, d.Height, d.Depth, d.Format, d.NumChannels, d.Flags};
}
inline CUDA_ARRAY3D_DESCRIPTOR Widened(const CUDA_ARRAY3D_DESCRIPTOR& d) { return d; }

}  // namespace partage::intercept::memory
