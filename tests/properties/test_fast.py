"""Engine `fast` says what engine `cinder` says, to the last bit: on drawn, long and once differing cases.

EXAMPLES sets how many cases are drawn, SEED which; `make prove` draws many new ones. A difference is printed
as a file for `tests/regressions`, and belongs there. Named cases are compared in `tests/whole`, the scenarios
of the repository in `tests/test_scenarios.py`.
"""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given, note, seed, settings
from whole.random_case import random_builder

from sim.analysis.verification import difference
from sim.cinder import engine as cinder
from sim.fast import engine as fast
from sim.inputs.scenario import Case, WhatIf
from sim.model.initial import misfits

from .cases import asking, cases, read_spelled, spelled, switched, switches_with, what_ifs

EXAMPLES = int(os.environ.get("EXAMPLES", "250"))
SEED = int(os.environ.get("SEED", "7"))
POLICIES = ("lru", "sieve", "gdsf", "belady")
# Each is drawn equally often; Cinder's own policy more than once, as most people use nothing else.
PARTS = [
    ("none", "lru", 0),
    ("store-only", "lru", 0),
    ("replicated-store", "lru", 0),
    ("on-demand-store", "lru", 0),
    *(
        (strategy, policy, number)
        for strategy in ("cache-only", "combined")
        for policy in POLICIES
        for number in range(3 if policy == "lru" else 1)
    ),
]
LONG = max(1, EXAMPLES // 1000)  # of each part, with some twenty times the events of a drawn case
AT_ONCE = 500  # cases that Hypothesis draws at once: until it ends, it keeps half a MiB of each
ROOT = Path(__file__).parents[2]
REGRESSIONS = sorted((ROOT / "tests" / "regressions").glob("*.yaml"))

Record = Callable[[str, object], None]


def parted(case: Case, strategy: str) -> str | None:
    return difference(cinder.run(case, strategy), fast.run(case, strategy))


def seed_of(*part: object) -> int:
    """A seed for a part of the drawn cases: the same on every machine."""
    return zlib.crc32(repr((SEED, *part)).encode())


@pytest.mark.parametrize(("strategy", "policy", "number"), PARTS)
def test_long_cases(strategy: str, policy: str, number: int, tmp_path: Path, record_property: Record) -> None:
    for long in range(LONG):
        drawn = seed_of(strategy, policy, number, long)
        dice = random.Random(drawn)
        what_if = switched(policy, [name for name in switches_with(policy) if dice.random() < 0.5])
        case = asking(random_builder(drawn, events=300).case(tmp_path), what_if)
        if misfits(case, [strategy]):
            continue
        text = parted(case, strategy)
        assert text is None, f"random_builder({drawn}, events=300), {strategy}, {what_if}:\n{text}"
    record_property("examples", LONG)


@pytest.mark.parametrize(("strategy", "policy", "number"), PARTS)
def test_drawn_cases(strategy: str, policy: str, number: int, record_property: Record) -> None:
    count = 0

    def agree(case: Case, what_if: WhatIf) -> None:
        nonlocal count
        count += 1
        case = asking(case, what_if)
        assume(not misfits(case, [strategy]))
        text = parted(case, strategy)
        if text is not None:
            note(spelled(case, strategy))
        assert text is None, text

    wanted = max(1, EXAMPLES // len(PARTS))
    try:
        for first in range(0, wanted, AT_ONCE):
            drawn = seed_of(strategy, policy, number, *([first] if first else []))
            prove = given(case=cases(whole=True), what_if=what_ifs(policy))(agree)
            seed(drawn)(settings(max_examples=min(AT_ONCE, wanted - first))(prove))()
    finally:
        record_property("examples", count)


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_what_was_found(path: Path) -> None:
    """Every case that the engines once differed on, with the strategy and the policy that they did."""
    assert parted(*read_spelled(path)) is None


def test_an_image_volume_made_on_a_second_backend_is_the_stores() -> None:
    case, strategy = read_spelled(ROOT / "tests" / "regressions" / "stored_on_the_second_backend.yaml")
    assert list(cinder.run(case, strategy).requests.source) == ["store"]


def test_no_create_fails_on_the_metadata_of_an_uploaded_location() -> None:
    case, strategy = read_spelled(ROOT / "tests" / "regressions" / "uploaded_from_an_image.yaml")
    assert set(cinder.run(case, strategy).requests.status) == {"available"}
