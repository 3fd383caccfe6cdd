"""`cinder-cache run --cinder RELEASE` against that release's own whole Cinder, on many drawn cases.

    python -m tests.cinders.own_whole [CASES] [SEED]    # 100 new ones

The release is the one that is installed for the Python that runs this. Its environment is the one that users
get, in the cache folder. `make releases` does this for the oldest and the newest release.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from sim.analysis.results import read
from sim.cinder.release import MENDS
from sim.cli import app
from sim.inputs.scenario import Case
from sim.model.records import CLONES
from tests.whole.crowded import crowded_builder
from tests.whole.random_case import random_builder
from tests.whole.reference import run_whole
from tests.whole.test_against_whole import as_whole

STRATEGIES = ("cache-only", "combined", "cache-only", "combined", "store-only", "none")


def cases(seed: int, folder: Path) -> Iterator[tuple[int, Counter[str]]]:
    """Compare one case after another, from a seed on: crowded clouds, and mixtures of everything in turn.

    Gives each case's seed and what it met. A case is left out if its store does not fit at the start, or if
    it needs a package that is not here. Raises AssertionError at the first difference.
    """
    for number in itertools.count(seed):
        drawn = crowded_builder if number % 2 else random_builder
        case = drawn(number).case(folder / str(number))
        strategy = random.Random(f"strategy {number}").choice(STRATEGIES)
        if (found := _compared(case, strategy)) is not None:
            yield number, found


def _compared(case: Case, strategy: str) -> Counter[str] | None:
    """What a case met, if the command with that release decides as its whole Cinder; None: it cannot run."""
    release, out = version("cinder"), case.path.parent / "out"
    asked = ["run", str(case.path), "--strategy", strategy, "--cinder", release, "--out", str(out)]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = app(asked, standalone_mode=False)
    if code == 2:
        return None
    assert code == 0, said.getvalue()
    tables, manifest = read(out / strategy)
    assert manifest["cinder"]["release"] == release
    as_released = MENDS.set(False)
    try:
        whole = run_whole(case, strategy)
    except pytest.skip.Exception:
        return None
    finally:
        MENDS.reset(as_released)
    as_whole(SimpleNamespace(**tables), whole)
    assert raised(tables["requests"]) == raised(whole.requests)
    assert raised(tables["others"]) == raised(whole.others)
    return met(tables["requests"], len(whole.others), len(whole.orphans))


def raised(creates: pd.DataFrame) -> list[str]:
    """The names of the exceptions of creates ('': none)."""
    return [error.partition(":")[0] for error in creates["error"]]


def met(requests: pd.DataFrame, others: int, orphans: int) -> Counter[str]:
    """How many creates a run had, and how many of them met what parts the releases."""
    with_text = requests["error"].str.contains
    return Counter(
        {
            "creates": len(requests) + others,
            "clones": int(requests["source"].isin(CLONES).sum()),
            "tried again": int((requests["attempts"] > 1).sum()),
            "failed at a clone limit": int(with_text("SnapshotLimitReached").sum()),
            "failed with GlanceMetadataExists": int(with_text("GlanceMetadataExists").sum()),
            "orphans": orphans,
        }
    )


def main(number: int, seed: int) -> None:
    """Raise at the first difference."""
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for drawn, found in itertools.islice(cases(seed, Path(folder)), number):
            total.update(found)
            print(
                f"seed {drawn}:", ", ".join(f"{count:,} {what}" for what, count in found.items()), flush=True
            )
    print(f"Cinder {version('cinder')}, {number} cases from seed {seed}, no difference:")
    print(", ".join(f"{count:,} {what}" for what, count in total.items()))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    arguments = [*map(int, sys.argv[1:]), *(100, int(time.time()))[len(sys.argv) - 1 :]]
    main(*arguments)
