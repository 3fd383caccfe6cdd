"""A few kills of the quick commands, at fixed moments; `make killed` has many of each, at new ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from .kills import Kills, moments

QUICK = ("run", "curve", "generate", "import")


@pytest.mark.parametrize("name", QUICK)
def test_results_are_old_or_new_and_nothing_is_left(name: str, tmp_path: Path) -> None:
    kills = Kills(name, tmp_path)
    for moment in moments(1, 4, kills.seconds):
        kills.kill(moment)
    kills.end()
    assert kills.told == []
