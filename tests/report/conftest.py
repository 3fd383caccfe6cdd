"""Reports of the three commands on a small scenario, and a browser to look at them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.importers.servers import binary
from tests.planner.test_answer import write
from tests.report.making import COMMANDS, report


@pytest.fixture(scope="session")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("scenario"))


@pytest.fixture(scope="session")
def folders(scenario: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By command the folder with its report."""
    return {name: report(name, scenario, tmp_path_factory.mktemp(name)) for name in COMMANDS}


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium."""
    program = binary("chromium", "chromium")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def explored_points() -> int:
    """The points of each report that a browser reads and a fresh simulation checks."""
    return int(os.environ.get("EXPLORED_POINTS", "10"))
