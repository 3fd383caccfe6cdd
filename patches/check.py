"""Run Cinder's own unit tests of the files that each patch touches, without it and with it.

    python patches/check.py [NAME ...]

It needs git, and a package index or a cache of one. It writes `tests.csv`, which docs/patches.md shows.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sim.cinders.environments import python_of
from sim.inputs.beside import beside
from sim.inputs.cinders import SUPPORTED

HERE = Path(__file__).parent
COLUMNS = ("patch", "files", "tests", "run without it", "failed", "run with it", "failed with it")
# Where Cinder tests a file that has no test module of its name.
OTHER = {
    "cinder/volume/flows/manager/create_volume.py": "cinder.tests.unit.volume.flows.test_create_volume_flow",
    "cinder/volume/manager.py": "cinder.tests.unit.volume.test_volume_manager",
    "cinder/db/api.py": "cinder.tests.unit.test_db_api",
}


def main(names: list[str]) -> int:
    """Print a line for each patch as soon as it is known; 1 if more tests fail with one than without it."""
    python = python_of(SUPPORTED[-1], lambda text: print(text, file=sys.stderr))
    rows = []
    with TemporaryDirectory(prefix="cinder-patches-") as folder:
        tree, extra = Path(folder) / "cinder-29", Path(folder) / "extra"
        wanted = ["--target", str(extra), "--requirement", str(HERE / "test-requirements.txt")]
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", *wanted], check=True)
        (packages,) = python.parents[1].glob("lib/python*/site-packages/cinder")
        shutil.copytree(packages, tree / "cinder")

        def tested(modules: tuple[str, ...]) -> tuple[int, int]:
            return _tested(python, tree, extra, modules)

        without = cache(tested)
        for name in names or sorted(each.name for each in HERE.iterdir() if each.is_dir()):
            (patch,) = (HERE / name).glob("0001-*.patch")
            touched = re.findall(r"^\+\+\+ b/(cinder/.+\.py)$", patch.read_text("utf-8"), re.M)
            files = [path for path in touched if "/tests/" not in path]
            own = {path.removesuffix(".py").replace("/", ".") for path in touched if "/tests/" in path}
            modules = tuple(sorted(own | {OTHER[path] for path in files if path in OTHER}))
            before = without(modules)
            _git_apply(tree, patch)
            after = tested(modules)
            _git_apply(tree, patch, "--reverse")
            shorter = [module.removeprefix("cinder.tests.unit.") for module in modules]
            rows.append((name, " ".join(files), " ".join(shorter), *before, *after))
            print(*rows[-1], sep=", ", flush=True)
    if not names:
        with beside(HERE / "tests.csv") as (new,), new.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    return int(any(row[-1] > row[-3] or row[-2] <= row[-4] for row in rows))


def _git_apply(tree: Path, patch: Path, *options: str) -> None:
    subprocess.run(["git", "apply", *options, str(patch.resolve())], cwd=tree, check=True)


def _tested(python: Path, tree: Path, extra: Path, modules: tuple[str, ...]) -> tuple[int, int]:
    """How many tests ran, and how many of them failed."""
    paths = {"PYTHONPATH": f"{tree}{os.pathsep}{extra}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(python), "-W", "ignore", "-m", "unittest", *modules]
    done = subprocess.run(command, cwd=tree, env=os.environ | paths, capture_output=True, text=True)
    ran = re.search(r"^Ran (\d+) tests? in", done.stderr, re.M)
    if ran is None:
        raise RuntimeError(done.stderr[-2000:])
    return int(ran[1]), sum(map(int, re.findall(r"(?:failures|errors)=(\d+)", done.stderr)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
