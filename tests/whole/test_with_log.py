"""Cinder's log, which makes more of Cinder run, changes no decision."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from sim.analysis.verification import difference
from sim.cinder.engine import run

from .random_case import random_builder

SEEDS = 3, 13, 18, 21, 34, 37, 39  # in which snapshots are taken


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_with_cinders_log_decides_the_same(
    seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    builder = random_builder(seed)
    case = builder.case(tmp_path)
    quiet = run(case, "combined")
    assert not caplog.records
    with caplog.at_level(logging.DEBUG):
        assert difference(run(case, "combined", cinder_log=True), quiet) is None
    told_of = [str(getattr(record, "resource", "")) for record in caplog.records]
    assert any("[volume-v" in each for each in told_of)
    assert any("[snapshot-s" in each for each in told_of)
