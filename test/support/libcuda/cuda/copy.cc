// SPDX-License-Identifier: Apache-2.0
// Copies and sets. Contents really move between host memory and linear device memory, at once when the call is made; where the profile gives
// a bandwidth, they also take GPU time. Above 16 MiB only the time is real, lest a test fill the machine's memory.
#include <cstring>

#include "test/support/libcuda/cuda/driver.h"

namespace partage::fake_gpu {
namespace {

constexpr size_t kMostMoved = 16 << 20;

void* Pointer(CUdeviceptr address) { return reinterpret_cast<void*>(address); }
CUdeviceptr Address(const void* pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }

int64_t CopyNs(uint64_t bytes) {
  const uint64_t bandwidth = Profile::Get().copy_bandwidth;
  return bandwidth == 0 ? 0 : static_cast<int64_t>(static_cast<double>(bytes) * 1e9 / static_cast<double>(bandwidth));
}

/// What a copy or set does besides moving bytes: checks, capture, GPU time. `move` runs when it is not captured.
template <class Move>
CUresult Work(uint64_t bytes, CUstream handle, bool wait, CUgraphNodeType type, Move move) {
  int gpu = 0;
  bool captured = false;
  int64_t mark = 0;
  const CUresult result = InContext([&](Driver& driver, Context& context) {
    Stream* stream = FindStream(driver, context, handle);
    if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    gpu = stream->context->gpu;
    captured = CaptureNode(driver, *stream, {.type = type, .ns = CopyNs(bytes)});
    return captured && wait ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : captured ? CUDA_SUCCESS : move(driver);
  });
  if (result != CUDA_SUCCESS || captured || FastMode()) return result;
  if (const int64_t ns = CopyNs(bytes); ns > 0) QueueWork(handle, gpu, ns, mark);
  if (wait) Gpus::Get().Wait(gpu, Gpus::Get().LastMark(gpu));
  return CUDA_SUCCESS;
}

/// An address is good where it is the host's or lies in the arena.
bool Reachable(Driver& driver, CUdeviceptr address, size_t bytes) {
  return driver.arena.Holds(address, bytes) || !driver.arena.Contains(address);
}

CUresult Copy(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream, bool wait) {
  if (FastMode()) return CUDA_SUCCESS;
  return Work(bytes, stream, wait, CU_GRAPH_NODE_TYPE_MEMCPY, [&](Driver& driver) {
    if (bytes == 0) return CUDA_SUCCESS;
    if (to == 0 || from == 0) return CUDA_ERROR_INVALID_VALUE;
    if (bytes <= kMostMoved && Reachable(driver, to, bytes) && Reachable(driver, from, bytes))
      std::memmove(Pointer(to), Pointer(from), bytes);
    return CUDA_SUCCESS;
  });
}

template <class Value>
CUresult Set2D(CUdeviceptr to, size_t pitch, Value value, size_t width, size_t height, CUstream stream, bool wait) {
  return Work(width * height * sizeof(Value), stream, wait, CU_GRAPH_NODE_TYPE_MEMSET, [&](Driver& driver) {
    if (to == 0 || to % sizeof(Value) != 0) return CUDA_ERROR_INVALID_VALUE;
    const size_t bytes = height == 0 ? 0 : (height - 1) * pitch + width * sizeof(Value);
    if (bytes > kMostMoved || !driver.arena.Holds(to, bytes)) return CUDA_SUCCESS;
    for (size_t y = 0; y < height; ++y) {
      for (size_t x = 0; x < width; ++x) std::memcpy(Pointer(to + y * pitch + x * sizeof(Value)), &value, sizeof(value));
    }
    return CUDA_SUCCESS;
  });
}

template <class Value>
CUresult Set(CUdeviceptr to, Value value, size_t count, CUstream stream, bool wait) {
  return Set2D(to, count * sizeof(Value), value, count, 1, stream, wait);
}

/// One side of a copy between pitched areas; null where it is an array.
char* Side(CUmemorytype type, const void* host, CUdeviceptr device, size_t x, size_t y, size_t pitch) {
  if (type == CU_MEMORYTYPE_ARRAY) return nullptr;
  const CUdeviceptr base = type == CU_MEMORYTYPE_HOST ? Address(host) : device;
  return static_cast<char*>(Pointer(base + y * pitch + x));
}

CUresult Copy2D(const CUDA_MEMCPY2D* c, CUstream stream, bool wait) {
  if (c == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return Work(c->WidthInBytes * c->Height, stream, wait, CU_GRAPH_NODE_TYPE_MEMCPY, [&](Driver&) {
    const char* from = Side(c->srcMemoryType, c->srcHost, c->srcDevice, c->srcXInBytes, c->srcY, c->srcPitch);
    char* to = Side(c->dstMemoryType, c->dstHost, c->dstDevice, c->dstXInBytes, c->dstY, c->dstPitch);
    if (from == nullptr || to == nullptr || c->WidthInBytes * c->Height > kMostMoved) return CUDA_SUCCESS;
    for (size_t y = 0; y < c->Height; ++y) std::memmove(to + y * c->dstPitch, from + y * c->srcPitch, c->WidthInBytes);
    return CUDA_SUCCESS;
  });
}

CUresult Copy3D(const CUDA_MEMCPY3D* c, CUstream stream, bool wait) {
  if (c == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return Work(c->WidthInBytes * c->Height * c->Depth, stream, wait, CU_GRAPH_NODE_TYPE_MEMCPY, [](Driver&) { return CUDA_SUCCESS; });
}

}  // namespace

FAKE_CUDA(cuMemcpy)(CUdeviceptr to, CUdeviceptr from, size_t bytes) { return Copy(to, from, bytes, nullptr, true); }
FAKE_CUDA_SAME(cuMemcpy_ptds, cuMemcpy);
FAKE_CUDA(cuMemcpyAsync)(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) { return Copy(to, from, bytes, stream, false); }
FAKE_CUDA_SAME(cuMemcpyAsync_ptsz, cuMemcpyAsync);
FAKE_CUDA(cuMemcpyHtoD_v2)(CUdeviceptr to, const void* from, size_t bytes) { return Copy(to, Address(from), bytes, nullptr, true); }
FAKE_CUDA_SAME(cuMemcpyHtoD_v2_ptds, cuMemcpyHtoD_v2);
FAKE_CUDA(cuMemcpyDtoH_v2)(void* to, CUdeviceptr from, size_t bytes) { return Copy(Address(to), from, bytes, nullptr, true); }
FAKE_CUDA_SAME(cuMemcpyDtoH_v2_ptds, cuMemcpyDtoH_v2);
FAKE_CUDA(cuMemcpyDtoD_v2)(CUdeviceptr to, CUdeviceptr from, size_t bytes) { return Copy(to, from, bytes, nullptr, true); }
FAKE_CUDA_SAME(cuMemcpyDtoD_v2_ptds, cuMemcpyDtoD_v2);
FAKE_CUDA(cuMemcpyHtoDAsync_v2)(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
  return Copy(to, Address(from), bytes, stream, false);
}
FAKE_CUDA_SAME(cuMemcpyHtoDAsync_v2_ptsz, cuMemcpyHtoDAsync_v2);
FAKE_CUDA(cuMemcpyDtoHAsync_v2)(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return Copy(Address(to), from, bytes, stream, false);
}
FAKE_CUDA_SAME(cuMemcpyDtoHAsync_v2_ptsz, cuMemcpyDtoHAsync_v2);
FAKE_CUDA(cuMemcpyDtoDAsync_v2)(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return Copy(to, from, bytes, stream, false);
}
FAKE_CUDA_SAME(cuMemcpyDtoDAsync_v2_ptsz, cuMemcpyDtoDAsync_v2);
FAKE_CUDA(cuMemcpyPeer)(CUdeviceptr to, CUcontext, CUdeviceptr from, CUcontext, size_t bytes) {
  return Copy(to, from, bytes, nullptr, true);
}
FAKE_CUDA_SAME(cuMemcpyPeer_ptds, cuMemcpyPeer);
FAKE_CUDA(cuMemcpyPeerAsync)(CUdeviceptr to, CUcontext, CUdeviceptr from, CUcontext, size_t bytes, CUstream stream) {
  return Copy(to, from, bytes, stream, false);
}
FAKE_CUDA_SAME(cuMemcpyPeerAsync_ptsz, cuMemcpyPeerAsync);

FAKE_CUDA(cuMemcpy2D_v2)(const CUDA_MEMCPY2D* copy) { return Copy2D(copy, nullptr, true); }
FAKE_CUDA_SAME(cuMemcpy2D_v2_ptds, cuMemcpy2D_v2);
FAKE_CUDA(cuMemcpy2DUnaligned_v2)(const CUDA_MEMCPY2D* copy) { return Copy2D(copy, nullptr, true); }
FAKE_CUDA_SAME(cuMemcpy2DUnaligned_v2_ptds, cuMemcpy2DUnaligned_v2);
FAKE_CUDA(cuMemcpy2DAsync_v2)(const CUDA_MEMCPY2D* copy, CUstream stream) { return Copy2D(copy, stream, false); }
FAKE_CUDA_SAME(cuMemcpy2DAsync_v2_ptsz, cuMemcpy2DAsync_v2);
FAKE_CUDA(cuMemcpy3D_v2)(const CUDA_MEMCPY3D* copy) { return Copy3D(copy, nullptr, true); }
FAKE_CUDA_SAME(cuMemcpy3D_v2_ptds, cuMemcpy3D_v2);
FAKE_CUDA(cuMemcpy3DAsync_v2)(const CUDA_MEMCPY3D* copy, CUstream stream) { return Copy3D(copy, stream, false); }
FAKE_CUDA_SAME(cuMemcpy3DAsync_v2_ptsz, cuMemcpy3DAsync_v2);

FAKE_CUDA(cuMemsetD8_v2)(CUdeviceptr to, unsigned char value, size_t count) { return Set(to, value, count, nullptr, false); }
FAKE_CUDA_SAME(cuMemsetD8_v2_ptds, cuMemsetD8_v2);
FAKE_CUDA(cuMemsetD8Async)(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
  return Set(to, value, count, stream, false);
}
FAKE_CUDA_SAME(cuMemsetD8Async_ptsz, cuMemsetD8Async);
FAKE_CUDA(cuMemsetD16_v2)(CUdeviceptr to, unsigned short value, size_t count) { return Set(to, value, count, nullptr, false); }
FAKE_CUDA_SAME(cuMemsetD16_v2_ptds, cuMemsetD16_v2);
FAKE_CUDA(cuMemsetD16Async)(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
  return Set(to, value, count, stream, false);
}
FAKE_CUDA_SAME(cuMemsetD16Async_ptsz, cuMemsetD16Async);
FAKE_CUDA(cuMemsetD32_v2)(CUdeviceptr to, unsigned value, size_t count) { return Set(to, value, count, nullptr, false); }
FAKE_CUDA_SAME(cuMemsetD32_v2_ptds, cuMemsetD32_v2);
FAKE_CUDA(cuMemsetD32Async)(CUdeviceptr to, unsigned value, size_t count, CUstream stream) { return Set(to, value, count, stream, false); }
FAKE_CUDA_SAME(cuMemsetD32Async_ptsz, cuMemsetD32Async);
FAKE_CUDA(cuMemsetD2D8_v2)(CUdeviceptr to, size_t pitch, unsigned char value, size_t width, size_t height) {
  return Set2D(to, pitch, value, width, height, nullptr, false);
}
FAKE_CUDA(cuMemsetD2D16_v2)(CUdeviceptr to, size_t pitch, unsigned short value, size_t width, size_t height) {
  return Set2D(to, pitch, value, width, height, nullptr, false);
}
FAKE_CUDA(cuMemsetD2D32_v2)(CUdeviceptr to, size_t pitch, unsigned value, size_t width, size_t height) {
  return Set2D(to, pitch, value, width, height, nullptr, false);
}
FAKE_CUDA(cuMemsetD2D8Async)(CUdeviceptr to, size_t pitch, unsigned char value, size_t width, size_t height, CUstream stream) {
  return Set2D(to, pitch, value, width, height, stream, false);
}
FAKE_CUDA(cuMemsetD2D16Async)(CUdeviceptr to, size_t pitch, unsigned short value, size_t width, size_t height, CUstream stream) {
  return Set2D(to, pitch, value, width, height, stream, false);
}
FAKE_CUDA(cuMemsetD2D32Async)(CUdeviceptr to, size_t pitch, unsigned value, size_t width, size_t height, CUstream stream) {
  return Set2D(to, pitch, value, width, height, stream, false);
}

FAKE_CUDA(cuMemPrefetchAsync)(CUdeviceptr, size_t, CUdevice, CUstream) {
  return InContext([](Driver&, Context&) { return CUDA_SUCCESS; });
}
FAKE_CUDA_SAME(cuMemPrefetchAsync_ptsz, cuMemPrefetchAsync);
FAKE_CUDA(cuMemPrefetchAsync_v2)(CUdeviceptr, size_t, CUmemLocation, unsigned, CUstream) {
  return InContext([](Driver&, Context&) { return CUDA_SUCCESS; });
}
FAKE_CUDA_SAME(cuMemPrefetchAsync_v2_ptsz, cuMemPrefetchAsync_v2);

}  // namespace partage::fake_gpu
