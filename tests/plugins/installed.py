"""The plugin `clone-first` as an operator installs it, for the time of a test; and clouds that use it."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stevedore.extension import ExtensionManager

from sim.inputs.scenario import Case
from tests.whole.reference import Result, Run

SOURCE = Path(__file__).parents[2] / "plugins" / "clone-first"
WEIGHER = "PreferClonesWeigher"
NAMESPACE = "cinder.scheduler.weights"


def install(folder: Path) -> Path:
    """Installs the package with pip below a folder, without a network; returns where it is."""
    copy, target = folder / "source", folder / "installed"
    shutil.copytree(SOURCE, copy)  # a build writes beside the source
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", target, copy],
        check=True,
        capture_output=True,
        text=True,
    )
    return target


@contextlib.contextmanager
def importable(target: Path) -> Iterator[Any]:
    """Makes stevedore find what is installed there; gives the module."""
    sys.path.append(str(target))
    importlib.invalidate_caches()
    ExtensionManager.ENTRY_POINT_CACHE.clear()
    try:
        yield importlib.import_module("clone_first")
    finally:
        sys.path.remove(str(target))
        ExtensionManager.ENTRY_POINT_CACHE.clear()


class PreferringRun(Run):
    """The whole of Cinder with the plugin's weigher first, which outweighs all others; nothing is kept."""

    def options(self) -> dict[tuple[str | None, str], Any]:
        options, backends = super().options(), self.scenario.backends.items()
        weighers = self.scenario.cinder.scheduler_default_weighers
        return options | {
            (None, "scheduler_default_weighers"): [WEIGHER, *weighers],
            (None, "prefer_clones_multiplier"): self.scenario.cinder.preference(),
            (None, "prefer_clones_image_cache_time"): 0,
            (None, "prefer_clones_retry_interval"): 0,
            (None, "prefer_clones_drivers"): [name for name, spec in backends if spec.driver_clones_raw],
            (None, "prefer_clones_across_pools"): [
                name for name, spec in backends if spec.clone_across_pools
            ],
        }


def run_preferring(case: Case, strategy: str, database: str | None = None) -> Result:
    return PreferringRun(case, strategy, database).execute()
