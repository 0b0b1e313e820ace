#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a promised document is missing, a relative link leads nowhere, or docs/architecture.md does not name a module folder."""

import os
import re
import subprocess
import sys

PROMISED = ["README.md", "CONTRIBUTING.md", "LICENSE"] + [
    f"docs/{name}.md" for name in ("architecture", "configuration", "hami-differences", "http-api", "metrics", "operations", "protocol", "threat-model")
]
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")


def tracked(*patterns: str) -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", *patterns], capture_output=True, text=True, check=True)
    return listing.stdout.split()


def read(path: str) -> str:
    with open(path, encoding="utf-8") as text:
        return text.read()


def dead_links(path: str) -> list[str]:
    targets = [target for target, _ in LINK.findall(read(path)) if "://" not in target]
    folder = os.path.dirname(path)
    return [f"{path}: dead link {target}" for target in targets if not os.path.exists(os.path.join(folder, target))]


def unnamed_modules() -> list[str]:
    page = "docs/architecture.md"
    if not os.path.exists(page):
        return []
    text = read(page)
    folders = {os.path.dirname(path) for path in tracked("*CMakeLists.txt")} - {""}
    modules = sorted(folder for folder in folders if not folder.startswith(("test", "tools", "docs", "charts")))
    return [f"{page}: module {folder} is not named" for folder in modules if folder not in text]


def main() -> int:
    found = [f"missing document {path}" for path in PROMISED if not os.path.exists(path)]
    for path in tracked("*.md"):
        found += dead_links(path)
    found += unnamed_modules()
    print("\n".join(found) or "docs: ok")
    return 1 if found else 0


sys.exit(main())
