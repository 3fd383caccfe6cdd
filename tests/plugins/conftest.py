"""The plugin, installed once for the tests of a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.importers.conftest import empty_database, mariadb, postgresql  # noqa: F401
from tests.plugins.installed import importable, install


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("clone-first"))


@pytest.fixture
def clone_first(target: Path) -> Iterator[Any]:
    """The module, which looks as if nothing had failed and nothing were known."""
    with importable(target) as module:
        module.PreferClonesWeigher.failing = False
        module.PreferClonesWeigher.asks_again = 0.0
        module.PreferClonesWeigher.images = module.Images()
        yield module
