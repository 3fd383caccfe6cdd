"""A simulator and planner of OpenStack Cinder's image-volume cache.

- `load` reads and checks a scenario.
- `run` simulates a strategy and returns its tables. `stream` does so for traces larger than memory.
- `compare` returns a summary of several strategies, and `intervals` their confidence intervals.
- `verify` says whether both engines agree.
- `curve` returns hits against the limits of the cache.
- `plan` chooses strategy and limits for `Targets`.
- `storm` says what many creates at one instant do (`sim.planner.storm.Ask`).
- `generate` writes the workload of a scenario as a trace, and `fit` fits the parameters of a generator to a
  trace.
- `sim.plots` draws the results.

All of them raise `BadInput` if the input has problems.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.api import compare, curve, fit, generate, intervals, load, plan, storm, stream, verify
    from sim.inputs.problems import BadInput
    from sim.planner.targets import Targets
    from sim.run import run

__all__ = [
    "BadInput",
    "Targets",
    "compare",
    "curve",
    "fit",
    "generate",
    "intervals",
    "load",
    "plan",
    "run",
    "storm",
    "stream",
    "verify",
]

# Nothing is imported before it is used: the command must be able to end well as soon as it begins.
_HOMES = dict.fromkeys(__all__, "sim.api") | {
    "BadInput": "sim.inputs.problems",
    "Targets": "sim.planner.targets",
    "run": "sim.run",
}


class _Package(ModuleType):
    """This package, in which `run` is the function, and not the module of that name."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name == "run" and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    """Import parts when they are used: the names above, `sim.plots`, and the version."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "plots":
        return import_module("sim.plots")
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("cinder-cache-planner")
        except PackageNotFoundError:  # a checkout that is not installed
            return "0+unknown"
    raise AttributeError(f"module 'sim' has no attribute {name!r}")
