#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""run.sh from end to end on the fake driver: what it measures there is known. Times are the machine's and not judged."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
LIBRARY, DRIVER, OTHER = sys.argv[1:4]  # libpartage.so, the folder of a fake driver, a library that hooks nothing


def run(folder, library, *words):
    environment = os.environ | {"LD_LIBRARY_PATH": DRIVER, "FAKE_CUDA": f"device memory=16G; context 300M; shm {folder}/gpus"}
    command = [HERE / "run.sh", "--quick", "--library", library, "--out", folder, *words]
    return subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def check(good, *what):
    if not good:
        sys.exit("failed: " + " ".join(map(str, what)))


def main():
    with tempfile.TemporaryDirectory() as folder:
        ran = run(folder, LIBRARY)
        print(ran.stdout)
        check(ran.returncode == 0, "status", ran.returncode)
        report = json.loads(pathlib.Path(folder, "report.json").read_text())
        page = pathlib.Path(folder, "report.md").read_text()
        parts = {figure["part"] for figure in report["figures"]}
        check(parts == {"hooks", "memory", "limiter", "isolation", "overhead"}, "parts", parts)
        check(report["gpu"] == "fake driver" and report["quick"], "the report does not say that it is of the fake driver")
        for figure in report["figures"]:
            check(f"`{figure['id']}`" in page, figure["id"], "is not in report.md")
            check(figure["part"] not in ("hooks", "memory") or figure["met"], figure)  # exact on the fake driver, however busy the machine
        for way in ("linear", "pitched", "pool", "physical", "array"):
            check(any(figure["id"].startswith(way) for figure in report["figures"]), way, "was not tried")
        check(all("PyTorch" in skipped["reason"] for skipped in report["skipped"]), report["skipped"])
    with tempfile.TemporaryDirectory() as folder:
        ran = run(folder, OTHER, "--only", "hooks")
        check(ran.returncode == 1, "a library that hooks nothing is measured as if it did", ran.stdout)


if __name__ == "__main__":
    main()
