// SPDX-License-Identifier: Apache-2.0
// Every way to launch a kernel. Nothing is changed and nothing refused: a launch may have to wait for its turn (limiter/limiter.h), and now and then
// one is measured.
#include "intercept/hook.h"
#include "intercept/limiter/gate.h"

namespace partage::intercept {
namespace {

using namespace limiter;

/// Submits a kernel with this grid into a stream, when the container's share allows. What Waved() did not wave through.
template <class Submit>
CUresult Launch(CUfunction function, unsigned x, unsigned y, unsigned z, CUstream stream, Submit&& submit) {
  const int device = Metered() ? Device() : -1;
  if (device < 0) return submit();
  return Pass(KernelKey(function, device, x, y, z), device, stream, submit);
}

/// The driver's function, or null when it has to be looked for first.
template <Row row>
auto* Known() {
  return reinterpret_cast<typename SignatureOf<row>::Type*>(__atomic_load_n(&g_real[static_cast<unsigned>(row)], __ATOMIC_RELAXED));
}

/// `own` tells what stream 0 is for this entry point.
template <Row row, CUstream (*own)(CUstream), class... Rest>
[[gnu::noinline]] CUresult AskToLaunch(CUfunction f, unsigned x, unsigned y, unsigned z, unsigned bx, unsigned by, unsigned bz,
                                       unsigned shared, CUstream stream, Rest... rest) {
  return Launch(f, x, y, z, own(stream), [&] { return CallReal<row>(f, x, y, z, bx, by, bz, shared, stream, rest...); });
}

/// Entry points that begin alike. One tail call with the arguments as they came, wherever it goes, so that waving a launch through costs little.
template <Row row, CUstream (*own)(CUstream), class... Rest>
[[gnu::always_inline]] inline CUresult LaunchOrAsk(CUfunction f, unsigned x, unsigned y, unsigned z, unsigned bx, unsigned by, unsigned bz,
                                                   unsigned shared, CUstream stream, Rest... rest) {
  auto* go = Known<row>();
  if (go == nullptr || !Waved(f, x, y, z)) [[unlikely]]
    go = AskToLaunch<row, own, Rest...>;
  return go(f, x, y, z, bx, by, bz, shared, stream, rest...);
}

template <Row row, CUstream (*own)(CUstream)>
CUresult LaunchOrAsk(const CUlaunchConfig* config, CUfunction f, void** params, void** extra) {
  const auto submit = [=] { return CallReal<row>(config, f, params, extra); };
  if (config == nullptr || Waved(f, config->gridDimX, config->gridDimY, config->gridDimZ)) return submit();
  return Launch(f, config->gridDimX, config->gridDimY, config->gridDimZ, own(config->hStream), submit);
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
  return LaunchOrAsk<Row::cuLaunchKernel, LegacyStream>(f, grid_dim_x, grid_dim_y, grid_dim_z, block_dim_x, block_dim_y, block_dim_z,
                                                        shared_mem_bytes, stream, kernel_params, extra);
}
PARTAGE_HOOK(CUresult, cuLaunchKernel_ptsz,
             (CUfunction f, unsigned grid_dim_x, unsigned grid_dim_y, unsigned grid_dim_z, unsigned block_dim_x, unsigned block_dim_y,
              unsigned block_dim_z, unsigned shared_mem_bytes, CUstream stream, void** kernel_params, void** extra)) {
  return LaunchOrAsk<Row::cuLaunchKernel_ptsz, PerThreadStream>(f, grid_dim_x, grid_dim_y, grid_dim_z, block_dim_x, block_dim_y,
                                                                block_dim_z, shared_mem_bytes, stream, kernel_params, extra);
}

PARTAGE_HOOK(CUresult, cuLaunchKernelEx, (const CUlaunchConfig* config, CUfunction f, void** kernel_params, void** extra)) {
  return LaunchOrAsk<Row::cuLaunchKernelEx, LegacyStream>(config, f, kernel_params, extra);
}
PARTAGE_HOOK(CUresult, cuLaunchKernelEx_ptsz, (const CUlaunchConfig* config, CUfunction f, void** kernel_params, void** extra)) {
  return LaunchOrAsk<Row::cuLaunchKernelEx_ptsz, PerThreadStream>(config, f, kernel_params, extra);
}

PARTAGE_HOOK(CUresult, cuLaunchCooperativeKernel,
             (CUfunction f, unsigned grid_dim_x, unsigned grid_dim_y, unsigned grid_dim_z, unsigned block_dim_x, unsigned block_dim_y,
              unsigned block_dim_z, unsigned shared_mem_bytes, CUstream stream, void** kernel_params)) {
  return LaunchOrAsk<Row::cuLaunchCooperativeKernel, LegacyStream>(f, grid_dim_x, grid_dim_y, grid_dim_z, block_dim_x, block_dim_y,
                                                                   block_dim_z, shared_mem_bytes, stream, kernel_params);
}
PARTAGE_HOOK(CUresult, cuLaunchCooperativeKernel_ptsz,
             (CUfunction f, unsigned grid_dim_x, unsigned grid_dim_y, unsigned grid_dim_z, unsigned block_dim_x, unsigned block_dim_y,
              unsigned block_dim_z, unsigned shared_mem_bytes, CUstream stream, void** kernel_params)) {
  return LaunchOrAsk<Row::cuLaunchCooperativeKernel_ptsz, PerThreadStream>(f, grid_dim_x, grid_dim_y, grid_dim_z, block_dim_x, block_dim_y,
                                                                           block_dim_z, shared_mem_bytes, stream, kernel_params);
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
  if (Waved(f, 1, 1, 1)) return Real(f);
  return LaunchGrid(f, 1, 1, nullptr, [=] { return Real(f); });
}
PARTAGE_HOOK(CUresult, cuLaunchGrid, (CUfunction f, int grid_width, int grid_height)) {
  if (Waved(f, static_cast<unsigned>(grid_width), static_cast<unsigned>(grid_height), 1)) return Real(f, grid_width, grid_height);
  return LaunchGrid(f, grid_width, grid_height, nullptr, [=] { return Real(f, grid_width, grid_height); });
}
PARTAGE_HOOK(CUresult, cuLaunchGridAsync, (CUfunction f, int grid_width, int grid_height, CUstream stream)) {
  if (Waved(f, static_cast<unsigned>(grid_width), static_cast<unsigned>(grid_height), 1)) return Real(f, grid_width, grid_height, stream);
  return LaunchGrid(f, grid_width, grid_height, stream, [=] { return Real(f, grid_width, grid_height, stream); });
}

}  // namespace partage::intercept
