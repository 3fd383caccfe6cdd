"""Runs a case with another Cinder: engine `cinder`, this very package, in a process of that Cinder's own."""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from sim.cinders.environments import python_of
from sim.inputs.cinders import Cinder, CinderFailed
from sim.inputs.scenario import Case
from sim.model.records import Records

if TYPE_CHECKING:
    from sim.cinder.changes import Change

SIM = Path(__file__).parents[1]
# The environment has no `sim`, and the folder that holds this one may have another Cinder.
BEGIN = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("sim", sys.argv[1] + "/__init__.py")
sim = sys.modules["sim"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sim)
from sim.cinders.answering import answer
answer(*sys.argv[2:])
"""


@dataclass(frozen=True)
class Asked:
    """What a process is asked to run: `run` of the module `how`."""

    case: Case
    strategy: str
    how: Literal["sim.cinder.engine", "sim.cinder.watch.parts", "sim.cinder.changes"]
    cinder_log: bool = False


def run(
    case: Case,
    strategy: str,
    cinder: Cinder,
    progress: Callable[[int], None] | None = None,
    *,
    cinder_log: bool = False,
    watch: bool = False,
) -> Records:
    """`sim.run.run` with another Cinder. Its process stays for the next run.

    Raises NotInstalled if the Cinder cannot be installed, CinderFailed for what fails in its process, and
    RuntimeError if that process ends.
    """
    how: Any = "sim.cinder.watch.parts" if watch else "sim.cinder.engine"
    records: Records = _asked(cinder, Asked(case, strategy, how, cinder_log), progress)
    return records


def measured(case: Case, strategy: str, cinder: Cinder) -> tuple[Records, list[Change]]:
    """`sim.cinder.changes.run` with another Cinder. Raises as `run` does."""
    found: tuple[Records, list[Change]] = _asked(cinder, Asked(case, strategy, "sim.cinder.changes"))
    return found


def ready(cinder: Cinder) -> None:
    """Install what a Cinder runs in, if it is not there. Raises NotInstalled."""
    if cinder.release is not None:
        python_of(cinder.release, _said)


def _asked(cinder: Cinder, asked: Asked, progress: Callable[[int], None] | None = None) -> Any:
    process = _process(cinder)
    assert process.stdin is not None and process.stdout is not None
    try:
        pickle.dump(asked, process.stdin)
        process.stdin.flush()
        return _answer(process.stdout, progress)
    except (EOFError, BrokenPipeError):
        _process.cache_clear()
        code = process.wait()
        raise RuntimeError(f"the process of Cinder {cinder.name} ended with exit code {code}") from None


def _answer(messages: IO[bytes], progress: Callable[[int], None] | None) -> Any:
    while True:
        what, value = pickle.load(messages)
        if what == "done":
            return value
        if what == "failed":
            text, trace = value
            failed = CinderFailed(text)
            failed.add_note(trace)
            raise failed
        if progress is not None:
            progress(value)


@cache
def _process(cinder: Cinder) -> subprocess.Popen[bytes]:
    assert cinder.release is not None
    python = python_of(cinder.release, _said)
    command = [str(python), "-W", "ignore", "-c", BEGIN, str(SIM), cinder.release, str(cinder.checkout or "")]
    # Ctrl-C is for this process; the other one ends when nobody writes to it any more.
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_environment(python),
        start_new_session=True,
    )
    atexit.register(process.__exit__, None, None, None)
    return process


def _environment(python: Path) -> dict[str, Any]:
    """No path of this process's packages, and no file written into a checkout."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return kept | {"PYTHONPYCACHEPREFIX": str(python.parents[1] / "compiled"), "PYTHONHASHSEED": "0"}


def _said(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
