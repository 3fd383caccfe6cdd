"""Driven cases: each asserts what Cinder does; what a scenario says in another way is decided alike."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from sim.inputs.cinders import SUPPORTED

from . import driven_manager, driven_scheduler  # noqa: F401 register their own
from .odd import DRIVEN
from .test_against_whole import agree

pytestmark = [
    pytest.mark.whole,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(version("cinder") != SUPPORTED[-1], reason="what the newest release does"),
]


@pytest.mark.parametrize("name", DRIVEN)
def test_cinder_does_so(name: str, tmp_path: Path) -> None:
    alike = DRIVEN[name](tmp_path)
    if alike is not None:
        agree(*alike)
