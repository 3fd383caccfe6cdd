"""A simulator and planner of OpenStack Cinder's image-volume cache.

- `load` reads and checks a scenario.
- `run` simulates a strategy and returns its tables. `stream` does so for traces larger than memory.
- `compare` returns a summary of several strategies, and `intervals` their confidence intervals.
- `verify` says whether both engines agree.
- `curve` returns hits against the limits of the cache.
- `plan` chooses strategy and limits for `Targets`.
- `generate` writes the workload of a scenario as a trace, and `fit` fits the parameters of a generator to a
  trace.
- `sim.plots` draws the results.

All of them raise `BadInput` if the input has problems.
"""

from __future__ import annotations

from importlib import import_module

from sim.api import compare, curve, fit, generate, intervals, load, plan, stream, verify
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
    "stream",
    "verify",
]


def __getattr__(name: str) -> object:
    """Import slow parts only when they are used: `sim.plots`, and the version."""
    if name == "plots":
        return import_module("sim.plots")
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("cinder-cache-planner")
        except PackageNotFoundError:  # a checkout that is not installed
            return "0+unknown"
    raise AttributeError(f"module 'sim' has no attribute {name!r}")
