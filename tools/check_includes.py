#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when an #include breaks the layering: an arrow not in ARROWS, or a third-party header outside its home. `--self-test` tries both."""

import re
import subprocess
import sys

# Folder → the folders of ours it may include, besides itself. Read it as the architecture: what is not here must not be known there.
ARROWS: dict[str, str] = {
    "src/base": "",
    "src/shm": "",
    "src/intercept": "src/shm",
    "src/device": "src/base",
    "src/http": "src/base",
    "metrics": "src/base",
    "k8s/api": "src/base",
    "k8s/client": "src/base k8s/api",
    "k8s/informer": "src/base k8s/api k8s/client",
    "k8s/leases": "src/base k8s/api k8s/client",
    "src/vendors": "src/base src/device",
    "scheduler/framework": "src/base src/device",
    "policies": "src/base src/device scheduler/framework",
    "scheduler/state": "src/base src/device src/vendors scheduler/framework k8s/api",
    "scheduler/engine": "src/base src/device src/vendors scheduler/framework scheduler/state metrics",
    "metrics/collectors": "src/base src/device src/monitor metrics scheduler/framework scheduler/state",
    "scheduler/extender": "src/base src/device src/vendors src/http metrics k8s/api k8s/client scheduler/framework scheduler/state scheduler/engine",
    "scheduler/preemption": "src/base src/device src/vendors src/http metrics k8s/api scheduler/framework scheduler/state scheduler/engine scheduler/extender",
    "scheduler/webhook": "src/base src/device src/vendors src/http metrics k8s/api scheduler/framework scheduler/state scheduler/engine scheduler/extender",
    "src/sim": "src/base src/device src/vendors k8s/api k8s/informer scheduler/framework scheduler/state scheduler/engine scheduler/extender",
    "src/cli": "*",
    "src/dashboard": "*",
    "src/main": "*",
    "test": "*",
}
NEVER_INCLUDED = {"test": "test", "src/main": "test"}  # folder → the only folder besides itself that may include it

# Third-party header (pattern) → files (pattern) that may include it: slow to compile, or a choice that must stay one file's.
HOMES: dict[str, str] = {
    r"boost/(beast|asio)": r"src/http/[^/]*\.cc|test/.*",
    r"httplib\.h": r"k8s/client/[^/]*\.cc|k8s/client/wire_stream\.h|src/cli/http\.cc|test/.*",
    r"nlohmann/": r".*\.cc|src/device/json_fields\.h|test/.*",
    r"tl/expected": r"src/base/result\.h",
    r"yaml-cpp/": r"src/base/yaml\.(h|cc)|test/.*",  # where its bounds are
}
# Headers that may hold such a third-party header because only their own folder includes them.
PRIVATE = {"k8s/client/wire_stream.h", "src/device/json_fields.h"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def folder_of(path: str) -> str:
    """The longest folder of ARROWS that holds the path; its own folder when none does, so that a new folder is noticed."""
    return max((f for f in ARROWS if path.startswith(f + "/")), key=len, default=path.rpartition("/")[0])


def resolve(target: str, files: set[str]) -> str:
    """Both the root and src/ are include roots."""
    return target if target in files or f"src/{target}" not in files else f"src/{target}"


def faults(path: str, text: str, files: set[str]) -> list[str]:
    own = folder_of(path)
    found = []
    for quote, target in INCLUDE.findall(text):
        for pattern, home in HOMES.items():
            if re.match(pattern, target) and not re.fullmatch(home, path):
                found.append(f"{path}: <{target}> belongs only in {home}")
        header = resolve(target, files)
        other = folder_of(header) if quote == '"' else own
        allowed = ARROWS.get(own, "").split()
        refused = other not in allowed and "*" not in allowed or other in NEVER_INCLUDED and own != NEVER_INCLUDED[other] or header in PRIVATE
        if other != own and refused:
            found.append(f'{path}: "{target}" is an arrow {own} → {other} that tools/check_includes.py does not list')
    return found


def self_test() -> None:
    files = {"src/base/result.h", "scheduler/engine/engine.h", "policies/a.cc", "test/support/x.h", "src/main/setting.h"}
    assert not faults("policies/a.cc", '#include "base/result.h"\n#include <vector>\n', files)
    assert faults("policies/a.cc", '#include "scheduler/engine/engine.h"\n', files)
    assert faults("src/main/scheduler.cc", '#include "test/support/x.h"\n', files)
    assert faults("src/cli/a.cc", '#include "main/setting.h"\n', files)
    assert not faults("test/main/a.cc", '#include "main/setting.h"\n', files)
    assert faults("src/base/log.h", "# include <nlohmann/json.hpp>\n", files)
    assert faults("src/vendors/a.cc", '#include "device/json_fields.h"\n', files | PRIVATE)
    assert faults("src/new/a.cc", '#include "base/result.h"\n', files)


def main() -> int:
    if "--self-test" in sys.argv:
        self_test()
        return 0
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.h", "*.cc", "*.inc"], capture_output=True, text=True, check=True)
    files = set(listing.stdout.split())
    found = []
    for path in sorted(files):
        with open(path, encoding="utf-8") as source:
            found += faults(path, source.read(), files)
    print("\n".join(found) or f"includes: {len(files)} files keep the layering")
    return 1 if found else 0


sys.exit(main())
