// SPDX-License-Identifier: Apache-2.0
// Modules, libraries, functions, and launching them. Any image is accepted, and has every function except those named "missing…".
// How long a kernel runs stands in its name: _20us, _1.5ms, … at the end or before another '_'; _param: its first parameter, a uint64_t of ns.
#include <cstdlib>
#include <cstring>

#include "test/support/libcuda/cuda/driver.h"

namespace partage::fake_gpu {
namespace {

void ReadDuration(Function& function) {
  function.ns = Profile::Get().kernel_ns;
  size_t begin = 0;
  while ((begin = function.name.find('_', begin)) != std::string::npos) {
    const std::string part = function.name.substr(begin + 1, function.name.find('_', begin + 1) - begin - 1);
    if (part == "param") function.by_parameter = true;
    ParseDuration(part, function.ns);
    ++begin;
  }
}

CUresult LoadModule(CUmodule* out) {
  return InContext([&](Driver& driver, Context& context) {
    if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
    const uint64_t bytes = Profile::Get().module_bytes;
    if (!FastMode() && !Gpus::Get().Reserve(context.gpu, bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
    *out = driver.modules.Add({.context = &context, .bytes = bytes});
    return CUDA_SUCCESS;
  });
}

CUresult UnloadModule(CUmodule handle) {
  return InContext([&](Driver& driver, Context&) {
    const Module* module = driver.modules.Find(handle);
    if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (!FastMode()) Gpus::Get().Release(module->context->gpu, module->bytes);
    driver.modules.Remove(handle);
    return CUDA_SUCCESS;
  });
}

CUresult GetFunction(CUfunction* out, CUmodule module, const char* name) {
  return InContext([&](Driver& driver, Context&) {
    if (out == nullptr || name == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (driver.modules.Find(module) == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (std::strncmp(name, "missing", 7) == 0) return CUDA_ERROR_NOT_FOUND;
    for (auto& [handle, function] : driver.functions) {
      if (function->module == module && function->name == name) return *out = handle, CUDA_SUCCESS;
    }
    Function function{.name = name, .module = module};
    ReadDuration(function);
    *out = driver.functions.Add(std::move(function));
    return CUDA_SUCCESS;
  });
}

CUresult GetName(const char** out, CUfunction handle) {
  return InDriver([&](Driver& driver) {
    const Function* function = driver.functions.Find(handle);
    if (out == nullptr || function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    *out = function->name.c_str();
    return CUDA_SUCCESS;
  });
}

CUresult FastLaunch(CUfunction f) { return f == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS; }

/// Launches what `node` describes on the stream, or captures it.
CUresult Launch(const CUDA_KERNEL_NODE_PARAMS& node, CUstream stream_handle) {
  int gpu = 0;
  int64_t ns = 0;
  bool captured = false;
  const CUresult result = InContext([&](Driver& driver, Context& context) {
    Stream* stream = FindStream(driver, context, stream_handle);
    if (stream == nullptr || !KernelNs(driver, node.func, node.kernelParams, ns)) return CUDA_ERROR_INVALID_HANDLE;
    const uint64_t threads = uint64_t{node.blockDimX} * node.blockDimY * node.blockDimZ;
    const bool no_blocks = node.gridDimX == 0 || node.gridDimY == 0 || node.gridDimZ == 0;
    if (threads == 0 || threads > 1024 || no_blocks) return CUDA_ERROR_INVALID_VALUE;
    gpu = stream->context->gpu;
    captured = CaptureNode(driver, *stream, {.type = CU_GRAPH_NODE_TYPE_KERNEL, .ns = ns, .kernel = node});
    return CUDA_SUCCESS;
  });
  if (result != CUDA_SUCCESS || captured) return result;
  int64_t mark = 0;
  return QueueWork(stream_handle, gpu, ns, mark);
}

}  // namespace

bool KernelNs(Driver& driver, CUfunction handle, void** parameters, int64_t& ns) {
  const Function* function = driver.functions.Find(handle);
  if (function == nullptr) return false;
  ns = function->ns;
  if (function->by_parameter && parameters != nullptr && parameters[0] != nullptr) std::memcpy(&ns, parameters[0], sizeof(ns));
  return true;
}

FAKE_CUDA(cuModuleLoad)(CUmodule* out, const char*) { return LoadModule(out); }
FAKE_CUDA(cuModuleLoadData)(CUmodule* out, const void*) { return LoadModule(out); }
FAKE_CUDA(cuModuleLoadDataEx)(CUmodule* out, const void*, unsigned, CUjit_option*, void**) { return LoadModule(out); }
FAKE_CUDA(cuModuleLoadFatBinary)(CUmodule* out, const void*) { return LoadModule(out); }
FAKE_CUDA(cuModuleUnload)(CUmodule module) { return UnloadModule(module); }
FAKE_CUDA(cuModuleGetFunction)(CUfunction* out, CUmodule module, const char* name) { return GetFunction(out, module, name); }
FAKE_CUDA(cuFuncGetName)(const char** out, CUfunction function) { return GetName(out, function); }

FAKE_CUDA(cuFuncGetModule)(CUmodule* out, CUfunction handle) {
  return InContext([&](Driver& driver, Context&) {
    const Function* function = driver.functions.Find(handle);
    if (out == nullptr || function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    return *out = function->module, CUDA_SUCCESS;
  });
}

FAKE_CUDA(cuLibraryLoadData)(CUlibrary* out, const void*, CUjit_option*, void**, unsigned, CUlibraryOption*, void**, unsigned) {
  return LoadModule(reinterpret_cast<CUmodule*>(out));
}
FAKE_CUDA(cuLibraryLoadFromFile)(CUlibrary* out, const char*, CUjit_option*, void**, unsigned, CUlibraryOption*, void**, unsigned) {
  return LoadModule(reinterpret_cast<CUmodule*>(out));
}
FAKE_CUDA(cuLibraryUnload)(CUlibrary library) { return UnloadModule(reinterpret_cast<CUmodule>(library)); }
FAKE_CUDA(cuLibraryGetKernel)(CUkernel* out, CUlibrary library, const char* name) {
  return GetFunction(reinterpret_cast<CUfunction*>(out), reinterpret_cast<CUmodule>(library), name);
}
FAKE_CUDA(cuLibraryGetModule)(CUmodule* out, CUlibrary library) {
  return InContext([&](Driver&, Context&) {
    return out == nullptr ? CUDA_ERROR_INVALID_VALUE : (*out = reinterpret_cast<CUmodule>(library), CUDA_SUCCESS);
  });
}
FAKE_CUDA(cuKernelGetFunction)(CUfunction* out, CUkernel kernel) {
  return InContext([&](Driver&, Context&) {
    return out == nullptr ? CUDA_ERROR_INVALID_VALUE : (*out = reinterpret_cast<CUfunction>(kernel), CUDA_SUCCESS);
  });
}
FAKE_CUDA(cuKernelGetName)(const char** out, CUkernel kernel) { return GetName(out, reinterpret_cast<CUfunction>(kernel)); }

FAKE_CUDA(cuFuncGetAttribute)(int* out, CUfunction_attribute, CUfunction handle) {
  return InContext([&](Driver& driver, Context&) {
    return out == nullptr || driver.functions.Find(handle) == nullptr ? CUDA_ERROR_INVALID_HANDLE : (*out = 1024, CUDA_SUCCESS);
  });
}
FAKE_CUDA(cuFuncSetAttribute)(CUfunction handle, CUfunction_attribute, int) {
  return InContext(
      [&](Driver& driver, Context&) { return driver.functions.Find(handle) == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS; });
}
FAKE_CUDA(cuFuncLoad)(CUfunction handle) {
  return InContext(
      [&](Driver& driver, Context&) { return driver.functions.Find(handle) == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS; });
}

FAKE_CUDA(cuLaunchKernel)
(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, CUstream stream,
 void** parameters, void** extra) {
  if (FastMode()) return FastLaunch(f);
  return Launch({f, gx, gy, gz, bx, by, bz, shared, parameters, extra}, stream);
}
FAKE_CUDA_SAME(cuLaunchKernel_ptsz, cuLaunchKernel);

FAKE_CUDA(cuLaunchCooperativeKernel)
(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, CUstream stream,
 void** parameters) {
  return Launch({f, gx, gy, gz, bx, by, bz, shared, parameters, nullptr}, stream);
}
FAKE_CUDA_SAME(cuLaunchCooperativeKernel_ptsz, cuLaunchCooperativeKernel);

FAKE_CUDA(cuLaunchKernelEx)(const CUlaunchConfig* c, CUfunction f, void** parameters, void** extra) {
  if (c == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (FastMode()) return FastLaunch(f);
  return Launch({f, c->gridDimX, c->gridDimY, c->gridDimZ, c->blockDimX, c->blockDimY, c->blockDimZ, c->sharedMemBytes, parameters, extra},
                c->hStream);
}
FAKE_CUDA_SAME(cuLaunchKernelEx_ptsz, cuLaunchKernelEx);

FAKE_CUDA(cuLaunchCooperativeKernelMultiDevice)(CUDA_LAUNCH_PARAMS* list, unsigned count, unsigned) {
  if (list == nullptr || count == 0) return CUDA_ERROR_INVALID_VALUE;
  for (unsigned i = 0; i < count; ++i) {
    const auto& p = list[i];
    const CUDA_KERNEL_NODE_PARAMS node{p.function,  p.gridDimX,  p.gridDimY,       p.gridDimZ,     p.blockDimX,
                                       p.blockDimY, p.blockDimZ, p.sharedMemBytes, p.kernelParams, nullptr};
    if (const CUresult error = Launch(node, p.hStream); error != CUDA_SUCCESS) return error;
  }
  return CUDA_SUCCESS;
}

FAKE_CUDA(cuLaunch)(CUfunction f) { return Launch({f, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr}, nullptr); }
FAKE_CUDA(cuLaunchGridAsync)(CUfunction f, int width, int height, CUstream stream) {
  return Launch({f, static_cast<unsigned>(width), static_cast<unsigned>(height), 1, 1, 1, 1, 0, nullptr, nullptr}, stream);
}
FAKE_CUDA(cuLaunchGrid)(CUfunction f, int width, int height) { return fake_cuLaunchGridAsync(f, width, height, nullptr); }

}  // namespace partage::fake_gpu
