"""A release decides in an environment of its own as its own whole Cinder; `make releases` draws many more."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import pytest

from sim.inputs.cinders import SUPPORTED
from tests.cinders.own_whole import cases

SEED = 21  # two crowded clouds with a mixture between them
pytestmark = [pytest.mark.whole, pytest.mark.filterwarnings("ignore")]


def test_the_installed_release_apart_decides_as_its_own_whole(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    total: Counter[str] = Counter()
    for _, found in islice(cases(SEED, tmp_path), 3):
        total.update(found)
    assert total["clones"] and total["tried again"] and total["failed at a clone limit"]
    if version("cinder") == SUPPORTED[0]:
        assert total["failed with GlanceMetadataExists"] and total["orphans"]
