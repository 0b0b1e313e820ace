#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails on a source file without its licence line, a test that is switched off, or a note to do something later."""

import re
import subprocess
import sys

SOURCES = re.compile(r"(\.(h|cc|c|py|sh|cmake)|CMakeLists\.txt|^run|^\.ci/run)$")
LICENCE = "SPDX-License-Identifier: Apache-2.0"
FORBIDDEN = {
    # "[.child]" is a process that another test starts from its own program.
    re.compile(r"TEST_CASE\([^)]*\[(\.(?!child\])|!mayfail|!shouldfail)"): "a test that is switched off",
    re.compile(r'(TEST_CASE\w*\([^"]*|^\s+)"[^"]*;[^"]*"(, "\[.*\]")?\) \{$|TEST_CASE\w*\([^"]*"[^"]*;'): "a test that ctest never runs: CMake cuts its name at the semicolon",
    re.compile(r'TEST_CASE\w*\([^"]*"(?:(?!: )[^"]){60,}: '): "a test whose failure Catch cannot tell: it dies of a colon so far into the name",
    re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b"): "a note for later",
    re.compile(r"^\s*#\s*if\s+0\b"): "code that is switched off",
    re.compile(r"^(<{7}|>{7}) "): "a merge conflict",
}


def faults(path: str) -> list[str]:
    with open(path, encoding="utf-8") as source:
        lines = source.read().split("\n")
    found = []
    if LICENCE not in "\n".join(lines[:2]):
        found.append(f"{path}:1: first line must hold {LICENCE}")
    for number, line in enumerate(lines, start=1):
        found += [f"{path}:{number}: {what}: {line.strip()}" for pattern, what in FORBIDDEN.items() if pattern.search(line)]
    return found


def main() -> int:
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True)
    paths = [path for path in listing.stdout.split("\n") if SOURCES.search(path)]
    found = [fault for path in paths for fault in faults(path)]
    print("\n".join(found) or f"sources: {len(paths)} files ok")
    return 1 if found else 0


sys.exit(main())
