"""A simulator and planner of OpenStack Cinder's image-volume cache.

`load` reads and checks a scenario, `run` simulates a strategy and gives its tables (`stream` writes
those of traces larger than memory), `compare` gives a summary of several strategies and `intervals` how
sure it is, `verify` says whether both engines agree, `curve` gives hits against the cache's limits,
`plan` chooses strategy and limits for `Targets`, `generate` writes a scenario's workload as a trace and `fit`
gives a generator's parameters out of one. `sim.plots` draws what they give. What is wrong with the input is
raised as `BadInput`.
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
    """What takes long to import, when it is asked for: `sim.plots`, and the release."""
    if name == "plots":
        return import_module("sim.plots")
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("cinder-cache-planner")
        except PackageNotFoundError:  # a checkout that is not installed
            return "0+unknown"
    raise AttributeError(f"module 'sim' has no attribute {name!r}")
