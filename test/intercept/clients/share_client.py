# SPDX-License-Identifier: Apache-2.0
"""A CUDA program on NVIDIA's own bindings: goes through the usual ways of using a device and prints, as JSON, what it was told."""

import json
import sys

import pynvml as nvml
from cuda.bindings import driver

MIB = 1 << 20
OUT_OF_MEMORY = driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY


def ok(answer: tuple):
    code, *values = answer
    assert code == driver.CUresult.CUDA_SUCCESS, code
    return values[0] if len(values) == 1 else values


def start() -> None:
    ok(driver.cuInit(0))
    ok(driver.cuCtxSetCurrent(ok(driver.cuDevicePrimaryCtxRetain(ok(driver.cuDeviceGet(0))))))
    nvml.nvmlInit()


def nvml_device():
    """NVML's handle of CUDA's device 0, which need not be NVML's device 0."""
    uuid = bytes(ok(driver.cuDeviceGetUuid(ok(driver.cuDeviceGet(0)))).bytes).hex()
    return nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid[:8]}-{uuid[8:12]}-{uuid[12:16]}-{uuid[16:20]}-{uuid[20:]}")


def told() -> dict:
    """What every way of asking says now."""
    free, total = ok(driver.cuMemGetInfo())
    memory, memory2 = nvml.nvmlDeviceGetMemoryInfo(nvml_device()), nvml.nvmlDeviceGetMemoryInfo(nvml_device(), version=nvml.nvmlMemory_v2)
    return {
        "total": {total, ok(driver.cuDeviceTotalMem(ok(driver.cuDeviceGet(0)))), memory.total, memory2.total},
        "used": {total - free, memory.used},
        "sums": {free + (total - free), memory.free + memory.used, memory2.free + memory2.used + memory2.reserved},
    }


def allocate(ways: dict) -> None:
    """A MiB or two in every way that the bindings have, given back again."""
    before = told()["used"]
    pointer = ok(driver.cuMemAlloc(MIB))
    ways["linear"] = told()["used"] != before
    ok(driver.cuMemFree(pointer))
    pointer, _ = ok(driver.cuMemAllocPitch(1000, 100, 4))
    ok(driver.cuMemFree(pointer))
    stream = ok(driver.cuStreamCreate(1))
    pointer = ok(driver.cuMemAllocAsync(MIB, stream))
    ways["pool"] = told()["used"] != before
    ok(driver.cuMemFreeAsync(pointer, stream))
    ok(driver.cuStreamSynchronize(stream))
    place = driver.CUmemAllocationProp()
    place.type = driver.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
    place.location.type, place.location.id = driver.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE, 0
    handle = ok(driver.cuMemCreate(2 * MIB, place, 0))
    ways["vmm"] = told()["used"] != before
    ok(driver.cuMemRelease(handle))
    ways["all back"] = told()["used"] == before


def refused(ways: dict) -> None:
    """One byte more than there is fails with the driver's code; all there is, does not; and afterwards everything goes on."""
    free, _ = ok(driver.cuMemGetInfo())
    ways["too much"] = driver.cuMemAlloc(free + 1)[0] == OUT_OF_MEMORY
    pointer = ok(driver.cuMemAlloc(free))
    ways["nothing left"] = driver.cuMemAlloc(1)[0] == OUT_OF_MEMORY and ok(driver.cuMemGetInfo())[0] == 0
    ok(driver.cuMemFree(pointer))
    ways["free again"] = ok(driver.cuMemGetInfo())[0] == free


def run_kernels(ways: dict) -> None:
    """Launches, events, a captured graph."""
    stream, module = ok(driver.cuStreamCreate(1)), ok(driver.cuModuleLoadData(b"any image"))
    kernel = ok(driver.cuModuleGetFunction(module, b"spin_2ms"))
    begin, end = ok(driver.cuEventCreate(0)), ok(driver.cuEventCreate(0))
    ok(driver.cuEventRecord(begin, stream))
    for _ in range(5):
        ok(driver.cuLaunchKernel(kernel, 1, 1, 1, 32, 1, 1, 0, stream, 0, 0))
    ok(driver.cuEventRecord(end, stream))
    ok(driver.cuEventSynchronize(end))
    ways["kernels took their time"] = ok(driver.cuEventElapsedTime(begin, end)) >= 10
    ok(driver.cuStreamBeginCapture(stream, driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL))
    ok(driver.cuLaunchKernel(kernel, 1, 1, 1, 32, 1, 1, 0, stream, 0, 0))
    graph = ok(driver.cuGraphInstantiate(ok(driver.cuStreamEndCapture(stream)), 0))
    ok(driver.cuGraphLaunch(graph, stream))
    ok(driver.cuStreamSynchronize(stream))


def main() -> None:
    start()
    ways: dict[str, bool] = {}
    first = told()
    allocate(ways)
    refused(ways)
    run_kernels(ways)
    print(json.dumps({"ways": ways, **{key: sorted(values) for key, values in first.items()}, "name": ok(driver.cuDeviceGetName(64, 0)).decode()}))
    if "--stay" in sys.argv:
        ok(driver.cuMemAlloc(100 * MIB))
        print("holding 100 MiB", flush=True)
        sys.stdin.read()


main()
