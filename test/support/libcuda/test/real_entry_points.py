#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""real_entry_points.py NVIDIA_FOLDER BRANCH FAKE_FOLDER: asks a real libcuda and the fake one of its branch for every base name, at many versions
and stream flags, and fails where they answer differently, or where the two libnvidia-ml do not export the same. Skips (77) where that real driver has
not been fetched into NVIDIA_FOLDER."""

import ctypes
import glob
import re
import subprocess
import sys

VERSIONS = [0, 2000, 3010, 3020, 4000, 7000, 8000, 9000, 10000, 10010, 10020, 11000, 11010, 11020, 11030, 11040, 11060, 11070]
VERSIONS += [12000, 12010, 12020, 12030, 12040, 12050, 12080, 13000, 19000]
FLAGS = [0, 1, 2, 3, 4]


NVML_WITHOUT_A_HEADER = {"nvmlRetry_NvRmControl"}  # nobody looks for it


def exports_of(path: str, prefix: str) -> set[str]:
    symbols = subprocess.run(["nm", "-D", "--defined-only", path], capture_output=True, text=True, check=True).stdout.split("\n")
    return {name.split("@")[0] for line in symbols for name in line.split()[2:] if name.startswith(prefix)}


class Driver:
    """A libcuda with the names of its exports by address."""

    def __init__(self, path: str):
        self.library = ctypes.CDLL(path)
        self.exports = exports_of(path, "cu")
        self.names: dict[int, set[str]] = {}
        for name in self.exports:
            self.names.setdefault(ctypes.cast(getattr(self.library, name), ctypes.c_void_p).value, set()).add(name)

    def answer(self, name: str, version: int, flags: int) -> tuple[int, int, set[str] | None]:
        """The result code, the status (newer drivers), and what the address is called."""
        found, status = ctypes.c_void_p(0), ctypes.c_int(-1)
        arguments = [name.encode(), ctypes.byref(found), version, ctypes.c_uint64(flags)]
        if "cuGetProcAddress_v2" in self.exports:
            code = self.library.cuGetProcAddress_v2(*arguments, ctypes.byref(status))
        else:
            code = self.library.cuGetProcAddress(*arguments)
        return code, status.value, self.names.get(found.value, {"?"}) if found.value else None


def same(real: tuple, fake: tuple) -> bool:
    """A real driver may give several exports one address."""
    return real[:2] == fake[:2] and (real[2] == fake[2] or bool(real[2] and fake[2] and real[2] & fake[2]))


def main(nvidia: str, branch: str, fake_folder: str) -> int:
    found = [path for path in glob.glob(f"{nvidia}/**/libcuda.so.{branch}.*", recursive=True)]
    if not found:
        print(f"skipped: no libcuda.so.{branch}.* below {nvidia}")
        return 77
    real, fake = Driver(found[0]), Driver(f"{fake_folder}/{branch}/libcuda.so.1")
    names = sorted({re.sub(r"_v\d$", "", re.sub(r"_pt[sd][sz]$", "", name)) for name in fake.exports})
    questions = [(name, version, flags) for name in [*names, "cuNothing", "cuMemAlloc_v2", ""] for version in VERSIONS for flags in FLAGS]
    wrong = [question for question in questions if not same(real.answer(*question), fake.answer(*question))]
    invented = sorted(fake.exports - real.exports)
    print(f"{len(questions)} questions, {len(wrong)} answered otherwise: {wrong[:10]}; exports that the real one lacks: {invented}")
    real_nvml = next(path for path in glob.glob(f"{nvidia}/**/libnvidia-ml.so.{branch}.*", recursive=True))
    different = (exports_of(real_nvml, "nvml") - NVML_WITHOUT_A_HEADER) ^ exports_of(f"{fake_folder}/{branch}/libnvidia-ml.so.1", "nvml")
    print(f"exports of libnvidia-ml that only one of the two has: {sorted(different)}")
    return 1 if wrong or invented or different else 0


sys.exit(main(*sys.argv[1:]))
