"""Work on several processes that nobody waits for any more."""

from __future__ import annotations

import os
import time
from pathlib import Path

import joblib
import pytest

from sim.analysis.pool import results


def working() -> bool:
    """Whether a child of this process is a worker."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    commands = [Path(f"/proc/{child}/cmdline") for child in children]
    return any(b"LokyProcess" in command.read_bytes() for command in commands if command.exists())


# If a job is closed at once, loky's own thread may look for it when it is gone, and end by that.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_processes_end_before_anybody_has_asked_for_a_result() -> None:
    with joblib.parallel_config("loky", n_jobs=2):
        found = results(time.sleep, [(600,)])
    assert working()
    found.close()
    for _ in range(300):
        if not working():
            return
        time.sleep(0.1)
    raise AssertionError("they work on")
