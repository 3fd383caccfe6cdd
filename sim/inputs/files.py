"""The files that a case was read from, and their hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.inputs.scenario import Case


def files_of(case: Case) -> dict[str, Path]:
    """The files that a case was read from: scenario, trace (unless generated), images and initial."""
    folder, scenario = case.path.parent, case.scenario
    files = {"scenario": case.path}
    if scenario.workload.trace is not None:
        files["trace"] = case.trace.path
    if isinstance(scenario.images, str):
        files["images"] = folder / scenario.images
    if scenario.workload.initial is not None:
        files["initial"] = folder / scenario.workload.initial
    return files


def hashes(case: Case) -> dict[str, str]:
    """SHA-256 of the files that a case was read from."""
    return {name: _sha256(path) for name, path in files_of(case).items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
