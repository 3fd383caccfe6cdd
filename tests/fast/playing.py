"""Runs cases on both engines without compilation and prints, as JSON, where each parts (null: nowhere).

NUMBA_DISABLE_JIT=1 python -m fast.playing FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
from properties.cases import read_spelled  # first: it keeps the warnings of Cinder's imports to itself
from whole.scenarios import CASES

from sim.analysis.verification import difference
from sim.cinder import engine as cinder
from sim.fast import build
from sim.fast import engine as fast
from sim.inputs.scenario import Case

from .drawn import drawn

# Few cases that reach nearly every line and branch of engine `fast` between them.
NAMED = (
    *(("events_during_an_upload-no-op", "combined"), ("upload_copies-None", "cache-only")),
    *(("capacity-True", "cache-only"), ("upload_without_rates", "store-only")),
    ("no_op_without_room", "combined"),
)
SEEDS = (112, 90, 97, 54, 85, 10, 48, 14, 47, 127, 81, 7, 11, 51, 62, 142, 2)
REGRESSIONS = Path(__file__).parents[1] / "regressions"


def cases(folder: Path) -> Iterator[tuple[str, Callable[[], tuple[Case, str]]]]:
    """The name of each case, and what makes it."""
    for name, strategy in NAMED:
        yield name, lambda name=name, strategy=strategy: (CASES[name](folder), strategy)  # type: ignore[misc]
    for seed in SEEDS:
        yield f"seed {seed}", lambda seed=seed: drawn(seed, folder)  # type: ignore[misc]
    for path in sorted(REGRESSIONS.glob("*.yaml")):
        yield path.stem, lambda path=path: read_spelled(path)  # type: ignore[misc]


def main(folder: Path) -> None:
    assert numba.config.DISABLE_JIT
    build.START = 64  # records of an array that grows: so that small cases let all of them grow
    told = {}
    for name, make in cases(folder):
        case, strategy = make()
        told[name] = difference(cinder.run(case, strategy), fast.run(case, strategy))
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
