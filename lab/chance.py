"""How much of a prediction is chance: who gets a lock next, and when exactly a request arrives.

The simulator gives a lock to the request that has waited longest. tooz's drivers for files, MySQL and etcd
ask again and again, up to once a second, so anybody who waits may come first. An API needs some time for a
request, now more and now less. Here both are drawn many times. The spread of the results is the prediction's
own interval.
"""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pandas as pd

from lab.compare import measures
from sim.cinder import locks
from sim.inputs.scenario import Case
from sim.run import run

JITTER_S = 1.0


def drawn(case: Case, strategy: str, repeats: int) -> pd.DataFrame:
    """The measures of so many runs, a row for each."""
    return pd.DataFrame([_one(case, strategy, seed) for seed in range(repeats)])


def _one(case: Case, strategy: str, seed: int) -> dict[str, float]:
    random = np.random.default_rng(seed)

    def release(lock: locks.Lock) -> None:
        waiting = lock._coordinator.waiting
        if turns := waiting[lock._key]:
            turn = turns[int(random.integers(len(turns)))]
            turns.remove(turn)
            turn.succeed()
        else:
            del waiting[lock._key]

    events = case.trace.events
    times = events["time"].to_numpy(dtype=float) + random.uniform(0, JITTER_S, len(events))
    events = events.assign(time=times).sort_values("time", kind="stable", ignore_index=True)
    with patch.object(locks.Lock, "release", release):
        found = run(replace(case, trace=replace(case.trace, events=events)), strategy, "cinder")
    tables = {name: getattr(found, name) for name in ("requests", "cache", "cache_events")}
    return measures(tables)
