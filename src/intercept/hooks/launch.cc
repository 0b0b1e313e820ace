// SPDX-License-Identifier: Apache-2.0
// Every way to launch a kernel. Nothing is changed and nothing refused: a launch may have to wait for its turn (limiter/limiter.h), and now and then
// one is measured.
#include "intercept/hook.h"
#include "intercept/limiter/gate.h"

namespace partage::intercept {
namespace {

using namespace limiter;

/// Submits a kernel with this grid into a stream, when the container's share allows.
template <class Submit>
CUresult Launch(CUfunction function, unsigned x, unsigned y, unsigned z, CUstream stream, Submit&& submit) {
  const int device = Device();
  if (device < 0) return submit();
  return Pass(KernelKey(function, device, x, y, z), device, stream, submit);
}

template <class Submit>
CUresult Launch(const CUlaunchConfig* config, CUfunction function, CUstream (*stream)(CUstream), Submit&& submit) {
  if (config == nullptr) return submit();
  return Launch(function, config->gridDimX, config->gridDimY, config->gridDimZ, stream(config->hStream), submit);
}

/// Grids of the oldest interface are signed.
template <class Submit>
CUresult LaunchGrid(CUfunction function, int width, int height, CUstream stream, Submit&& submit) {
  return Launch(function, static_cast<unsigned>(width), static_cast<unsigned>(height), 1, LegacyStream(stream), submit);
}

/// The device that the stream is on, as an index in the limits file; -1: none of ours.
int DeviceOf(CUstream stream) {
  CUcontext context = nullptr;
  if (CallReal<Row::cuStreamGetCtx>(stream, &context) != CUDA_SUCCESS || CallReal<Row::cuCtxPushCurrent_v2>(context) != CUDA_SUCCESS)
    return -1;
  const int device = CurrentDeviceIndex();
  CallReal<Row::cuCtxPopCurrent_v2>(&context);
  return device;
}

/// One part of a launch on several devices takes its turn. It is not measured: its events would belong to another context than the current one.
void Take(const CUDA_LAUNCH_PARAMS& part) {
  const int device = DeviceOf(part.hStream);
  if (device < 0) return;
  PassUnmeasured(KernelKey(part.function, device, part.gridDimX, part.gridDimY, part.gridDimZ), device);
}

}  // namespace

PARTAGE_HOOK(CUresult, cuLaunchKernel,
             (CUfunction f, unsigned grid_dim_x, unsigned grid_dim_y, unsigned grid_dim_z, unsigned block_dim_x, unsigned block_dim_y,
              unsigned block_dim_z, unsigned shared_mem_bytes, CUstream stream, void** kernel_params, void** extra)) {
  const auto submit = [&] {
    return Real(f, grid_dim_x, grid_dim_y, grid_dim_z, block_dim_x, block_dim_y, block_dim_z, shared_mem_bytes, stream, kernel_params,
                extra);
  };
  return Metered() ? Launch(f, grid_dim_x, grid_dim_y, grid_dim_z, LegacyStream(stream), submit) : submit();
}
PARTAGE_HOOK(CUresult, cuLaunchKernel_ptsz,
             (CUfunction f, unsigned grid_dim_x, unsigned grid_dim_y, unsigned grid_dim_z, unsigned block_dim_x, unsigned block_dim_y,
              unsigned block_dim_z, unsigned shared_mem_bytes, CUstream stream, void** kernel_params, void** extra)) {
  const auto submit = [&] {
    return Real(f, grid_dim_x, grid_dim_y, grid_dim_z, block_dim_x, block_dim_y, block_dim_z, shared_mem_bytes, stream, kernel_params,
                extra);
  };
  return Metered() ? Launch(f, grid_dim_x, grid_dim_y, grid_dim_z, PerThreadStream(stream), submit) : submit();
}

PARTAGE_HOOK(CUresult, cuLaunchKernelEx, (const CUlaunchConfig* config, CUfunction f, void** kernel_params, void** extra)) {
  const auto submit = [&] { return Real(config, f, kernel_params, extra); };
  return Metered() ? Launch(config, f, LegacyStream, submit) : submit();
}
PARTAGE_HOOK(CUresult, cuLaunchKernelEx_ptsz, (const CUlaunchConfig* config, CUfunction f, void** kernel_params, void** extra)) {
  const auto submit = [&] { return Real(config, f, kernel_params, extra); };
  return Metered() ? Launch(config, f, PerThreadStream, submit) : submit();
}

PARTAGE_HOOK(CUresult, cuLaunchCooperativeKernel,
             (CUfunction f, unsigned grid_dim_x, unsigned grid_dim_y, unsigned grid_dim_z, unsigned block_dim_x, unsigned block_dim_y,
              unsigned block_dim_z, unsigned shared_mem_bytes, CUstream stream, void** kernel_params)) {
  const auto submit = [&] {
    return Real(f, grid_dim_x, grid_dim_y, grid_dim_z, block_dim_x, block_dim_y, block_dim_z, shared_mem_bytes, stream, kernel_params);
  };
  return Metered() ? Launch(f, grid_dim_x, grid_dim_y, grid_dim_z, LegacyStream(stream), submit) : submit();
}
PARTAGE_HOOK(CUresult, cuLaunchCooperativeKernel_ptsz,
             (CUfunction f, unsigned grid_dim_x, unsigned grid_dim_y, unsigned grid_dim_z, unsigned block_dim_x, unsigned block_dim_y,
              unsigned block_dim_z, unsigned shared_mem_bytes, CUstream stream, void** kernel_params)) {
  const auto submit = [&] {
    return Real(f, grid_dim_x, grid_dim_y, grid_dim_z, block_dim_x, block_dim_y, block_dim_z, shared_mem_bytes, stream, kernel_params);
  };
  return Metered() ? Launch(f, grid_dim_x, grid_dim_y, grid_dim_z, PerThreadStream(stream), submit) : submit();
}

PARTAGE_HOOK(CUresult, cuLaunchCooperativeKernelMultiDevice,
             (CUDA_LAUNCH_PARAMS * launch_params_list, unsigned num_devices, unsigned flags)) {
  if (Metered() && launch_params_list != nullptr) {
    for (unsigned i = 0; i < num_devices; ++i) Take(launch_params_list[i]);
  }
  return Real(launch_params_list, num_devices, flags);
}

// The interface of CUDA 3, which drivers still export.
PARTAGE_HOOK(CUresult, cuLaunch, (CUfunction f)) {
  const auto submit = [&] { return Real(f); };
  return Metered() ? LaunchGrid(f, 1, 1, nullptr, submit) : submit();
}
PARTAGE_HOOK(CUresult, cuLaunchGrid, (CUfunction f, int grid_width, int grid_height)) {
  const auto submit = [&] { return Real(f, grid_width, grid_height); };
  return Metered() ? LaunchGrid(f, grid_width, grid_height, nullptr, submit) : submit();
}
PARTAGE_HOOK(CUresult, cuLaunchGridAsync, (CUfunction f, int grid_width, int grid_height, CUstream stream)) {
  const auto submit = [&] { return Real(f, grid_width, grid_height, stream); };
  return Metered() ? LaunchGrid(f, grid_width, grid_height, stream, submit) : submit();
}

}  // namespace partage::intercept
