#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""exports_until.py TABLE NEWEST OUT: a linker version script that shows the table's rows whose "since" is at most NEWEST, and the controls."""

import re
import sys

ROW = re.compile(r"^PARTAGE_(?:CUDA|NVML)_FUNCTION\([^,]+, (\w+), .*, (\d+), \w+\)$", re.MULTILINE)


def main(table: str, newest: str, out: str) -> None:
    with open(table, encoding="utf-8") as source:
        rows = ROW.findall(source.read())
    assert len(rows) > 50, f"{table}: the rows are not written as expected"
    names = [name for name, since in rows if int(since) <= int(newest)]
    with open(out, "w", encoding="utf-8") as script:
        script.write("{ global:\n" + "".join(f"  {name};\n" for name in names) + "  fakeCuda*; fakeNvml*; nvmlErrorString;\nlocal: *; };\n")


main(*sys.argv[1:])
