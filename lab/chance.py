"""How much of a prediction is chance: who gets a lock next, and when exactly a request arrives.

Locks in MariaDB go to anybody who waits (`lock_order: chance`). An API needs some time for a request, now
more and now less. Both are drawn many times. The spread of the results is the prediction's own interval.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from lab.compare import measures
from sim.inputs.scenario import Case
from sim.run import run

JITTER_S = 1.0


def drawn(case: Case, strategy: str, repeats: int) -> pd.DataFrame:
    """The measures of so many runs, a row for each."""
    return pd.DataFrame([_one(case, strategy, replication) for replication in range(repeats)])


def _one(case: Case, strategy: str, replication: int) -> dict[str, float]:
    events = case.trace.events
    jitter_s = np.random.default_rng(replication).uniform(0, JITTER_S, len(events))
    events = events.assign(time=events["time"].to_numpy(dtype=float) + jitter_s)
    events = events.sort_values("time", kind="stable", ignore_index=True)
    case = replace(case, replication=replication, trace=replace(case.trace, events=events))
    found = run(case, strategy, "cinder")
    return measures({name: getattr(found, name) for name in ("requests", "cache", "cache_events")})
