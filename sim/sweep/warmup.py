"""The length of the warm-up, in which results depend more on the empty cache than on the strategy."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from sim.analysis.statistics import mser5
from sim.fast.engine import Prepared
from sim.inputs.scenario import Case
from sim.model.records import CLONES, SOURCES
from sim.sweep.played import played

NUMBERS = [SOURCES.index(source) for source in CLONES]


def warm_ups_s(case: Case, strategies: Iterable[str]) -> dict[str, float]:
    """The warm-up of each strategy in seconds, from a run of engine `fast`; 0 if nothing must be left out.

    It is MSER-5 on the series of creates from an image: 1 for a clone, 0 for every other create.
    Raises BadInput as `Prepared.play` does.
    """
    prepared = Prepared(case)
    chosen = np.flatnonzero(prepared.asked["image_id"] != "")
    time = prepared.asked["time"].to_numpy(np.float64)[chosen]
    found = {}
    for strategy in strategies:
        state, _ = played(prepared, case.scenario, strategy)
        found[strategy] = start_s(time, np.isin(state.rows["source"][chosen], NUMBERS))
    return found


def start_s(time: npt.NDArray[np.float64], clone: npt.NDArray[np.bool_]) -> float:
    """The time of the first create that MSER-5 keeps; 0 if it keeps all. Creates are in order of time."""
    left_out = mser5(clone)
    return float(time[left_out]) if left_out else 0.0


def warm_up_s(case: Case, strategies: Iterable[str]) -> float:
    """The longest of `warm_ups_s`; 0 without strategies."""
    return max(warm_ups_s(case, strategies).values(), default=0.0)
