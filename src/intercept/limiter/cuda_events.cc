// SPDX-License-Identifier: Apache-2.0
#include "intercept/limiter/cuda_events.h"

#include "intercept/limiter/gate.h"
#include "intercept/table.h"

namespace partage::intercept::limiter {
namespace {

bool SomeCapture() { return g_gate.captures.load(std::memory_order_relaxed) > 0; }

CUevent Event(void* event) { return static_cast<CUevent>(event); }

void* CurrentContext() {
  CUcontext context = nullptr;
  if (SomeCapture()) return nullptr;
  return CallReal<Row::cuCtxGetCurrent>(&context) == CUDA_SUCCESS ? context : nullptr;
}

void* Create() {
  CUevent event = nullptr;
  return CallReal<Row::cuEventCreate>(&event, CU_EVENT_DEFAULT) == CUDA_SUCCESS ? event : nullptr;
}

bool Record(void* event, void* stream) {
  const CUresult result = stream == OwnStream() ? CallReal<Row::cuEventRecord_ptsz>(Event(event), nullptr)
                                                : CallReal<Row::cuEventRecord>(Event(event), static_cast<CUstream>(stream));
  return result == CUDA_SUCCESS;
}

int Query(void* event) {
  if (SomeCapture()) return 0;
  const CUresult result = CallReal<Row::cuEventQuery>(Event(event));
  return result == CUDA_SUCCESS ? 1 : result == CUDA_ERROR_NOT_READY ? 0 : -1;
}

int64_t Elapsed(void* first, void* second) {
  float ms = 0;
  if (CallReal<Row::cuEventElapsedTime>(&ms, Event(first), Event(second)) != CUDA_SUCCESS) return -1;
  return static_cast<int64_t>(ms * 1e6F);
}

void Destroy(void* event) { CallReal<Row::cuEventDestroy_v2>(Event(event)); }

}  // namespace

constinit const EventDriver kCudaEvents = {CurrentContext, Create, Record, Query, Elapsed, Destroy};

}  // namespace partage::intercept::limiter
