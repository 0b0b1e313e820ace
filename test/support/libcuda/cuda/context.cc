// SPDX-License-Identifier: Apache-2.0
// Contexts: primary ones with their counts, created ones, and each thread's stack.
#include <algorithm>

#include "test/support/libcuda/cuda/current.h"

namespace partage::fake_gpu {

thread_local ContextStack context_stack;

namespace {

constexpr size_t kHeapBytes = size_t{8} << 20;

CUcontext Handle(Context* context) { return reinterpret_cast<CUcontext>(context); }

Context* FindContext(Driver& driver, CUcontext handle) {
  auto* context = reinterpret_cast<Context*>(handle);
  return driver.contexts.contains(context) && context->alive ? context : nullptr;
}

Context* NewContext(Driver& driver, CUdevice device, unsigned flags, unsigned version) {
  const int gpu = GpuOf(device);
  if (!FastMode() && !Gpus::Get().Reserve(gpu, Profile::Get().context_bytes)) return nullptr;
  auto* context = new Context{.device = device, .gpu = gpu, .flags = flags, .version = version, .id = driver.next_id++};
  driver.contexts.insert(context);
  return context;
}

void EndContext(Driver& driver, Context& context) {
  if (!context.alive) return;
  context.alive = false;
  DropContextObjects(driver, context);
  if (!FastMode()) Gpus::Get().Release(context.gpu, Profile::Get().context_bytes + context.heap_bytes);
}

/// The heap of kernels' malloc takes memory of the device, beyond the size that every context has.
CUresult ResizeHeap(Context& context, uint64_t bytes) {
  const uint64_t wanted = bytes > kHeapBytes ? bytes - kHeapBytes : 0;
  if (wanted > context.heap_bytes && !Gpus::Get().Reserve(context.gpu, wanted - context.heap_bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  if (wanted < context.heap_bytes) Gpus::Get().Release(context.gpu, context.heap_bytes - wanted);
  context.heap_bytes = wanted;
  return CUDA_SUCCESS;
}

CUresult Create(CUcontext* out, unsigned flags, CUdevice device, unsigned version) {
  return InDriver([&](Driver& driver) {
    if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (!ValidDevice(device)) return CUDA_ERROR_INVALID_DEVICE;
    Context* context = NewContext(driver, device, flags, version);
    if (context == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
    *out = Handle(context);
    if (context_stack.size < ContextStack::kDepth) context_stack.items[context_stack.size++] = context;
    return CUDA_SUCCESS;
  });
}

/// Gives up one hold on the primary context, or all.
CUresult EndPrimary(CUdevice device, bool all) {
  return InDriver([&](Driver& driver) {
    if (!ValidDevice(device)) return CUDA_ERROR_INVALID_DEVICE;
    Context*& primary = driver.primaries[static_cast<size_t>(device)];
    if (primary == nullptr) return all ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
    if (!all && --primary->retained > 0) return CUDA_SUCCESS;
    EndContext(driver, *primary);
    primary = nullptr;
    return CUDA_SUCCESS;
  });
}

}  // namespace

CUresult CurrentContext(Context*& context) {
  if (const CUresult error = Initialised(); error != CUDA_SUCCESS) return error;
  context = context_stack.top();
  if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  return context->alive ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

FAKE_CUDA(cuCtxCreate_v2)(CUcontext* out, unsigned flags, CUdevice device) { return Create(out, flags, device, 3020); }
FAKE_CUDA(cuCtxCreate)(CUcontext* out, unsigned flags, CUdevice device) { return Create(out, flags, device, 3010); }
FAKE_CUDA(cuCtxCreate_v3)(CUcontext* out, CUexecAffinityParam*, int, unsigned flags, CUdevice device) {
  return Create(out, flags, device, 3020);
}
FAKE_CUDA(cuCtxCreate_v4)(CUcontext* out, CUctxCreateParams*, unsigned flags, CUdevice device) { return Create(out, flags, device, 3020); }

FAKE_CUDA(cuCtxDestroy_v2)(CUcontext handle) {
  return InDriver([&](Driver& driver) {
    Context* context = FindContext(driver, handle);
    if (context == nullptr || context->primary) return CUDA_ERROR_INVALID_CONTEXT;
    EndContext(driver, *context);
    if (context_stack.top() == context) --context_stack.size;
    return CUDA_SUCCESS;
  });
}
FAKE_CUDA_SAME(cuCtxDestroy, cuCtxDestroy_v2);
FAKE_CUDA_SAME(cuCtxDetach, cuCtxDestroy_v2);

FAKE_CUDA(cuDevicePrimaryCtxRetain)(CUcontext* out, CUdevice device) {
  return InDriver([&](Driver& driver) {
    if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (!ValidDevice(device)) return CUDA_ERROR_INVALID_DEVICE;
    Context*& primary = driver.primaries[static_cast<size_t>(device)];
    if (primary == nullptr) primary = NewContext(driver, device, 0, 3020);
    if (primary == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
    primary->primary = true;
    ++primary->retained;
    *out = Handle(primary);
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuDevicePrimaryCtxRelease_v2)(CUdevice device) { return EndPrimary(device, false); }
FAKE_CUDA_SAME(cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2);
FAKE_CUDA(cuDevicePrimaryCtxReset_v2)(CUdevice device) { return EndPrimary(device, true); }
FAKE_CUDA_SAME(cuDevicePrimaryCtxReset, cuDevicePrimaryCtxReset_v2);

FAKE_CUDA(cuDevicePrimaryCtxGetState)(CUdevice device, unsigned* flags, int* active) {
  return InDriver([&](Driver& driver) {
    if (!ValidDevice(device)) return CUDA_ERROR_INVALID_DEVICE;
    const Context* primary = driver.primaries[static_cast<size_t>(device)];
    if (flags != nullptr) *flags = primary == nullptr ? 0 : primary->flags;
    if (active != nullptr) *active = primary != nullptr;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuDevicePrimaryCtxSetFlags_v2)(CUdevice device, unsigned flags) {
  return InDriver([&](Driver& driver) {
    if (!ValidDevice(device)) return CUDA_ERROR_INVALID_DEVICE;
    Context* primary = driver.primaries[static_cast<size_t>(device)];
    if (primary != nullptr) primary->flags = flags;
    return CUDA_SUCCESS;
  });
}
FAKE_CUDA_SAME(cuDevicePrimaryCtxSetFlags, cuDevicePrimaryCtxSetFlags_v2);

FAKE_CUDA(cuCtxGetCurrent)(CUcontext* out) {
  if (const CUresult error = Initialised(); error != CUDA_SUCCESS) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = Handle(context_stack.top());
  return CUDA_SUCCESS;
}

FAKE_CUDA(cuCtxPushCurrent_v2)(CUcontext handle) {
  return InDriver([&](Driver& driver) {
    Context* context = FindContext(driver, handle);
    if (context == nullptr || context_stack.size == ContextStack::kDepth) return CUDA_ERROR_INVALID_CONTEXT;
    context_stack.items[context_stack.size++] = context;
    return CUDA_SUCCESS;
  });
}
FAKE_CUDA_SAME(cuCtxPushCurrent, cuCtxPushCurrent_v2);

FAKE_CUDA(cuCtxPopCurrent_v2)(CUcontext* out) {
  if (const CUresult error = Initialised(); error != CUDA_SUCCESS) return error;
  if (context_stack.size == 0) return CUDA_ERROR_INVALID_CONTEXT;
  if (out != nullptr) *out = Handle(context_stack.top());
  --context_stack.size;
  return CUDA_SUCCESS;
}
FAKE_CUDA_SAME(cuCtxPopCurrent, cuCtxPopCurrent_v2);

FAKE_CUDA(cuCtxSetCurrent)(CUcontext handle) {
  return InDriver([&](Driver& driver) {
    Context* context = FindContext(driver, handle);
    if (handle != nullptr && context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
    if (context_stack.size > 0) --context_stack.size;
    if (context != nullptr) context_stack.items[context_stack.size++] = context;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuCtxGetDevice)(CUdevice* out) {
  Context* context = nullptr;
  if (const CUresult error = CurrentContext(context); error != CUDA_SUCCESS) return error;
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = context->device;
  return CUDA_SUCCESS;
}

FAKE_CUDA(cuCtxGetDevice_v2)(CUdevice* out, CUcontext handle) {
  if (handle == nullptr) return fake_cuCtxGetDevice(out);
  return InDriver([&](Driver& driver) {
    const Context* context = FindContext(driver, handle);
    if (context == nullptr || out == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *out = context->device;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuCtxGetFlags)(unsigned* flags) {
  return InContext(
      [&](Driver&, Context& context) { return flags == nullptr ? CUDA_ERROR_INVALID_VALUE : (*flags = context.flags, CUDA_SUCCESS); });
}

FAKE_CUDA(cuCtxSetFlags)(unsigned flags) {
  return InContext([&](Driver&, Context& context) { return context.flags = flags, CUDA_SUCCESS; });
}

FAKE_CUDA(cuCtxGetId)(CUcontext handle, unsigned long long* id) {
  return InDriver([&](Driver& driver) {
    const Context* context = handle == nullptr ? context_stack.top() : FindContext(driver, handle);
    if (context == nullptr || id == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *id = context->id;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuCtxGetApiVersion)(CUcontext handle, unsigned* version) {
  return InDriver([&](Driver& driver) {
    const Context* context = handle == nullptr ? context_stack.top() : FindContext(driver, handle);
    if (context == nullptr || version == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *version = context->version;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuCtxGetLimit)(size_t* value, CUlimit limit) {
  return InContext([&](Driver&, Context& context) {
    if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
    const auto found = context.limits.find(limit);
    *value = found != context.limits.end() ? found->second : limit == CU_LIMIT_STACK_SIZE ? 1024 : kHeapBytes;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuCtxSetLimit)(CUlimit limit, size_t value) {
  return InContext([&](Driver&, Context& context) {
    if (limit == CU_LIMIT_MALLOC_HEAP_SIZE && !FastMode()) {
      if (const CUresult error = ResizeHeap(context, value); error != CUDA_SUCCESS) return error;
    }
    return context.limits[limit] = value, CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuCtxGetStreamPriorityRange)(int* least, int* greatest) {
  return InContext([&](Driver&, Context&) {
    if (least != nullptr) *least = 0;
    if (greatest != nullptr) *greatest = -5;
    return CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuCtxEnablePeerAccess)(CUcontext peer, unsigned) {
  return InContext([&](Driver& driver, Context&) { return FindContext(driver, peer) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT; });
}
FAKE_CUDA(cuCtxDisablePeerAccess)(CUcontext peer) { return fake_cuCtxEnablePeerAccess(peer, 0); }

FAKE_CUDA(cuCtxSynchronize)() {
  int gpu = 0;
  const CUresult result = InContext([&](Driver& driver, Context& context) {
    gpu = context.gpu;
    TrimPools(driver, context.device);
    return CUDA_SUCCESS;
  });
  if (result == CUDA_SUCCESS && !FastMode()) Gpus::Get().Wait(gpu, Gpus::Get().LastMark(gpu));
  return result;
}

FAKE_CUDA(cuCtxSynchronize_v2)(CUcontext handle) {
  int gpu = 0;
  const CUresult result = InDriver([&](Driver& driver) {
    const Context* context = FindContext(driver, handle);
    if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
    gpu = context->gpu;
    TrimPools(driver, context->device);
    return CUDA_SUCCESS;
  });
  if (result == CUDA_SUCCESS && !FastMode()) Gpus::Get().Wait(gpu, Gpus::Get().LastMark(gpu));
  return result;
}

}  // namespace partage::fake_gpu
