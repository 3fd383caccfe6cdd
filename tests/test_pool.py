"""Work on several processes that nobody waits for any more."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import joblib

from sim.analysis.pool import results


def working() -> bool:
    """Whether a child of this process is a worker."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    commands = [Path(f"/proc/{child}/cmdline") for child in children]
    return any(b"LokyProcess" in command.read_bytes() for command in commands if command.exists())


def until(happens: Callable[[], bool], otherwise: str) -> None:
    for _ in range(300):
        if happens():
            return
        time.sleep(0.1)
    raise AssertionError(otherwise)


def test_processes_end_before_anybody_has_asked_for_a_result(tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    def job() -> None:
        begun.touch()
        time.sleep(600)

    with joblib.parallel_config("loky", n_jobs=2):
        found = results(job, [()])
    until(begun.exists, "the job does not begin")
    assert working()
    found.close()
    until(lambda: not working(), "they work on")
