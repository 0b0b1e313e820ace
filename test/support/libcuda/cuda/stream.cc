// SPDX-License-Identifier: Apache-2.0
// Streams and events. The GPU runs all work of a process in the order in which it was queued, whatever the stream; a stream knows the last of
// its own. So streams never overlap here, and an event waits for no other stream.
#include <algorithm>

#include "test/support/libcuda/cuda/driver.h"

namespace partage::fake_gpu {
namespace {

/// Runs `body(Driver&, Context&, Stream&)` when the handle is a stream's.
template <class Body>
CUresult OnStream(CUstream handle, Body body) {
  return InContext([&](Driver& driver, Context& context) {
    Stream* stream = FindStream(driver, context, handle);
    return stream == nullptr ? CUDA_ERROR_INVALID_HANDLE : body(driver, context, *stream);
  });
}

template <class Body>
CUresult OnEvent(CUevent handle, Body body) {
  return InContext([&](Driver& driver, Context&) {
    Event* event = driver.events.Find(handle);
    return event == nullptr ? CUDA_ERROR_INVALID_HANDLE : body(*event);
  });
}

/// An event is work, if little: a process that has nothing else on the GPU reaches it only when its turn comes.
constexpr int64_t kEventNs = 1;

/// When all before the event was done.
int64_t EventTime(const Event& event) { return std::max(event.recorded_at, Gpus::Get().FinishedAt(event.context->gpu, event.mark)); }

bool IsDone(const Event& event) { return !event.recorded || Gpus::Get().Done(event.context->gpu, event.mark); }

CUresult Elapsed(double& ms, CUevent start, CUevent end) {
  return InContext([&](Driver& driver, Context&) {
    const Event* from = driver.events.Find(start);
    const Event* to = driver.events.Find(end);
    if (from == nullptr || to == nullptr || !from->recorded || !to->recorded) return CUDA_ERROR_INVALID_HANDLE;
    if (((from->flags | to->flags) & CU_EVENT_DISABLE_TIMING) != 0) return CUDA_ERROR_INVALID_HANDLE;
    if (!IsDone(*from) || !IsDone(*to)) return CUDA_ERROR_NOT_READY;
    ms = static_cast<double>(EventTime(*to) - EventTime(*from)) / 1e6;
    return CUDA_SUCCESS;
  });
}

CUresult Record(CUevent event_handle, CUstream handle) {
  if (FastMode()) return event_handle == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
  return OnStream(handle, [&](Driver& driver, Context& context, Stream& stream) {
    Event* event = driver.events.Find(event_handle);
    if (event == nullptr || event->context != &context) return CUDA_ERROR_INVALID_HANDLE;
    event->capture = stream.capture;
    event->last = stream.last;
    if (stream.capture != nullptr) return CUDA_SUCCESS;
    event->recorded = true;
    if (Gpus::Get().Done(context.gpu, Gpus::Get().LastMark(context.gpu))) stream.mark = Gpus::Get().Submit(context.gpu, kEventNs);
    event->mark = stream.mark;
    event->recorded_at = Gpus::Now();
    return CUDA_SUCCESS;
  });
}

}  // namespace

Stream* FindStream(Driver& driver, Context& context, CUstream handle) {
  if (reinterpret_cast<uintptr_t>(handle) > 2) return driver.streams.Find(handle);
  const auto [found, added] = driver.default_streams.try_emplace({&context, handle});
  if (added) found->second.context = &context;
  return &found->second;
}

CUresult QueueWork(CUstream handle, int gpu, int64_t ns, int64_t& mark) {
  mark = Gpus::Get().Submit(gpu, ns);
  return InContext([&](Driver& driver, Context& context) {
    if (Stream* stream = FindStream(driver, context, handle)) stream->mark = std::max(stream->mark, mark);
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuStreamCreateWithPriority)(CUstream* out, unsigned flags, int priority) {
  return InContext([&](Driver& driver, Context& context) {
    if (out == nullptr || flags > CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
    *out = driver.streams.Add({.context = &context, .flags = flags, .priority = std::clamp(priority, -5, 0), .id = driver.next_id++});
    return CUDA_SUCCESS;
  });
}
FAKE_CUDA(cuStreamCreate)(CUstream* out, unsigned flags) { return fake_cuStreamCreateWithPriority(out, flags, 0); }

FAKE_CUDA(cuStreamDestroy_v2)(CUstream handle) {
  return InContext([&](Driver& driver, Context&) { return driver.streams.Remove(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE; });
}
FAKE_CUDA_SAME(cuStreamDestroy, cuStreamDestroy_v2);

FAKE_CUDA(cuStreamSynchronize)(CUstream handle) {
  if (FastMode()) return CUDA_SUCCESS;
  int64_t mark = 0;
  int gpu = 0;
  uint64_t host_call = 0;
  const CUresult result = OnStream(handle, [&](Driver& driver, Context& context, Stream& stream) {
    if (stream.capture != nullptr) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    mark = stream.mark;
    gpu = stream.context->gpu;
    host_call = stream.host_call;
    TrimPools(driver, context.device);
    return CUDA_SUCCESS;
  });
  if (result != CUDA_SUCCESS) return result;
  Gpus::Get().Wait(gpu, mark);
  WaitHostCall(host_call);
  return CUDA_SUCCESS;
}
FAKE_CUDA_SAME(cuStreamSynchronize_ptsz, cuStreamSynchronize);

FAKE_CUDA(cuStreamQuery)(CUstream handle) {
  return OnStream(handle, [&](Driver&, Context&, Stream& stream) {
    if (stream.capture != nullptr) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    const bool done = FastMode() || (Gpus::Get().Done(stream.context->gpu, stream.mark) && HostCallDone(stream.host_call));
    return done ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
  });
}
FAKE_CUDA_SAME(cuStreamQuery_ptsz, cuStreamQuery);

FAKE_CUDA(cuStreamWaitEvent)(CUstream handle, CUevent event_handle, unsigned) {
  return OnStream(handle, [&](Driver& driver, Context&, Stream& stream) {
    const Event* event = driver.events.Find(event_handle);
    if (event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (event->capture == nullptr)
      return stream.mark = std::max(stream.mark, event->context == stream.context ? event->mark : 0), CUDA_SUCCESS;
    stream.capture = event->capture;  // the stream joins the capture
    stream.last.insert(stream.last.end(), event->last.begin(), event->last.end());
    return CUDA_SUCCESS;
  });
}
FAKE_CUDA_SAME(cuStreamWaitEvent_ptsz, cuStreamWaitEvent);

FAKE_CUDA(cuStreamGetFlags)(CUstream handle, unsigned* flags) {
  return OnStream(handle, [&](Driver&, Context&, Stream& stream) {
    return flags == nullptr ? CUDA_ERROR_INVALID_VALUE : (*flags = stream.flags, CUDA_SUCCESS);
  });
}
FAKE_CUDA_SAME(cuStreamGetFlags_ptsz, cuStreamGetFlags);

FAKE_CUDA(cuStreamGetPriority)(CUstream handle, int* priority) {
  return OnStream(handle, [&](Driver&, Context&, Stream& stream) {
    return priority == nullptr ? CUDA_ERROR_INVALID_VALUE : (*priority = stream.priority, CUDA_SUCCESS);
  });
}
FAKE_CUDA_SAME(cuStreamGetPriority_ptsz, cuStreamGetPriority);

FAKE_CUDA(cuStreamGetId)(CUstream handle, unsigned long long* id) {
  return OnStream(handle, [&](Driver&, Context&, Stream& stream) {
    return id == nullptr ? CUDA_ERROR_INVALID_VALUE : (*id = stream.id, CUDA_SUCCESS);
  });
}
FAKE_CUDA_SAME(cuStreamGetId_ptsz, cuStreamGetId);

FAKE_CUDA(cuStreamGetCtx)(CUstream handle, CUcontext* out) {
  return OnStream(handle, [&](Driver&, Context&, Stream& stream) {
    return out == nullptr ? CUDA_ERROR_INVALID_VALUE : (*out = reinterpret_cast<CUcontext>(stream.context), CUDA_SUCCESS);
  });
}
FAKE_CUDA_SAME(cuStreamGetCtx_ptsz, cuStreamGetCtx);

FAKE_CUDA(cuStreamGetDevice)(CUstream handle, CUdevice* out) {
  return OnStream(handle, [&](Driver&, Context&, Stream& stream) {
    return out == nullptr ? CUDA_ERROR_INVALID_VALUE : (*out = stream.context->device, CUDA_SUCCESS);
  });
}
FAKE_CUDA_SAME(cuStreamGetDevice_ptsz, cuStreamGetDevice);

FAKE_CUDA(cuLaunchHostFunc)(CUstream handle, CUhostFn fn, void* data) {
  return OnStream(handle, [&](Driver& driver, Context&, Stream& stream) {
    if (fn == nullptr) return CUDA_ERROR_INVALID_VALUE;
    const bool captured = CaptureNode(driver, stream, {.type = CU_GRAPH_NODE_TYPE_HOST, .host = {fn, data}});
    if (!captured) stream.host_call = QueueHostCall(stream.context->gpu, stream.mark, fn, data);
    return CUDA_SUCCESS;
  });
}
FAKE_CUDA_SAME(cuLaunchHostFunc_ptsz, cuLaunchHostFunc);

FAKE_CUDA(cuEventCreate)(CUevent* out, unsigned flags) {
  return InContext([&](Driver& driver, Context& context) {
    if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *out = driver.events.Add({.context = &context, .flags = flags});
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuEventDestroy_v2)(CUevent handle) {
  return InContext([&](Driver& driver, Context&) { return driver.events.Remove(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE; });
}
FAKE_CUDA_SAME(cuEventDestroy, cuEventDestroy_v2);

FAKE_CUDA(cuEventRecord)(CUevent event, CUstream stream) { return Record(event, stream); }
FAKE_CUDA_SAME(cuEventRecord_ptsz, cuEventRecord);
FAKE_CUDA(cuEventRecordWithFlags)(CUevent event, CUstream stream, unsigned) { return Record(event, stream); }
FAKE_CUDA_SAME(cuEventRecordWithFlags_ptsz, cuEventRecordWithFlags);

FAKE_CUDA(cuEventQuery)(CUevent handle) {
  if (FastMode()) return CUDA_SUCCESS;
  return OnEvent(handle, [](const Event& event) {
    if (event.capture != nullptr) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    return IsDone(event) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
  });
}

FAKE_CUDA(cuEventSynchronize)(CUevent handle) {
  Event copy;
  const CUresult result = OnEvent(handle, [&](const Event& event) { return copy = event, CUDA_SUCCESS; });
  if (result == CUDA_SUCCESS && copy.recorded && !FastMode()) Gpus::Get().Wait(copy.context->gpu, copy.mark);
  return result;
}

FAKE_CUDA(cuEventElapsedTime)(float* ms, CUevent start, CUevent end) {
  double exact = 0;
  if (ms == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const CUresult result =
      FastMode() ? (exact = static_cast<double>(Profile::Get().kernel_ns) / 1e6, CUDA_SUCCESS) : Elapsed(exact, start, end);
  if (result == CUDA_SUCCESS) *ms = static_cast<float>(exact);
  return result;
}
FAKE_CUDA_SAME(cuEventElapsedTime_v2, cuEventElapsedTime);

}  // namespace partage::fake_gpu
