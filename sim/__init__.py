"""A simulator and planner of OpenStack Cinder's image-volume cache.

`load` reads and checks a scenario, `run` simulates a strategy and gives its tables (`stream` writes
those of traces larger than memory), `compare` gives a summary of several strategies, `verify` says
whether both engines agree, `curve` gives hits against the cache's limits, `generate` writes a scenario's
workload as a trace and `fit` gives a generator's parameters out of one. What is wrong with the input is
raised as `BadInput`.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from sim.api import compare, curve, fit, generate, load, run, stream, verify
from sim.problems import BadInput

__all__ = ["BadInput", "compare", "curve", "fit", "generate", "load", "run", "stream", "verify"]

try:
    __version__ = version("cinder-cache-planner")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"
