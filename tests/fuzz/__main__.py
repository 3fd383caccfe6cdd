"""`make fuzz`: new damaged files for every reader until the time is over, and what came of them.

FUZZ_MINUTES (10) is shared by all readers, SEED (the time) begins the draws, and arguments name the readers
(all). With FUZZ_FILES each reader gets so many files at the most. The file that breaks a reader is kept in
out/fuzz.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import os
import pkgutil
import resource
import sys
import time
import traceback
from pathlib import Path

import sim.cinder  # noqa: F401  first, like tests/conftest.py
import tests.fuzz
from tests.fuzz.frame import Target

ROUND = 200  # files between two looks at the clock
FOUND = Path("out/fuzz")


def targets(names: list[str]) -> list[Target]:
    """All targets of all modules here, or those whose names have one of `names` in them."""
    modules = [
        importlib.import_module(f"tests.fuzz.{module.name}")
        for module in pkgutil.iter_modules(tests.fuzz.__path__)
        if module.name.startswith("test_")
    ]
    every = {
        id(value): value for each in modules for value in vars(each).values() if isinstance(value, Target)
    }
    return [each for each in every.values() if not names or any(name in each.name for name in names)]


def main() -> int:
    until = time.monotonic() + 60 * float(os.environ.get("FUZZ_MINUTES", "10"))
    most = float(os.environ.get("FUZZ_FILES") or "inf")
    first = int(os.environ.get("SEED") or time.time())
    print(f"SEED={first}", flush=True)
    chosen = targets(sys.argv[1:])
    broken: dict[str, str] = {}
    going = list(chosen)
    for number in itertools.count(first):
        for target in going:
            if time.monotonic() < until:
                try:
                    target.check(ROUND, number)
                except Exception:
                    broken[target.name] = kept(target)
                    traceback.print_exc()
        going = [each for each in going if each.name not in broken and each.counts["files"] < most]
        if time.monotonic() >= until or not going:
            break
    for target in chosen:
        of = target.counts
        found = broken.get(target.name, "")
        print(f"{target.name}: {of['files']:,} files, {of['refused']:,} refused{found}")
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")
    return 1 if broken else 0


def kept(target: Target) -> str:
    """Keep the file that broke a reader."""
    FOUND.mkdir(parents=True, exist_ok=True)
    path = FOUND / f"{hashlib.sha256(target.last).hexdigest()[:8]}-{target.file}"
    path.write_bytes(target.last)
    return f", BROKEN by {path}"


if __name__ == "__main__":
    sys.exit(main())
