#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""exports_until.py NEWEST OUT TABLE…: a linker version script that shows the tables' rows whose "since" is at most NEWEST, and the controls."""

import re
import sys

ROW = re.compile(r"^(?:PARTAGE_(?:CUDA|NVML)_FUNCTION\([^,]+, (\w+), .*, (\d+), \w+|FAKE_NVML_UNMODELLED\((\w+), (\d+))\)$", re.MULTILINE)
ALWAYS = "  fakeCuda*; fakeNvml*; nvmlErrorString; nvmlEventSetCreate; nvmlEventSetFree; nvmlInternalGetExportTable;\n"


def names_of(table: str, newest: int) -> list[str]:
    with open(table, encoding="utf-8") as source:
        rows = ROW.findall(source.read())
    assert len(rows) > 50, f"{table}: the rows are not written as expected"
    return [name or unmodelled for name, since, unmodelled, first in rows if int(since or first) <= newest]


def main(newest: str, out: str, *tables: str) -> None:
    names = [name for table in tables for name in names_of(table, int(newest))]
    with open(out, "w", encoding="utf-8") as script:
        script.write("{ global:\n" + "".join(f"  {name};\n" for name in names) + ALWAYS + "local: *; };\n")


main(*sys.argv[1:])
