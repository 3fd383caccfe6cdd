"""Whether transfers share a rate: what `calibrate` finds in creates that were slower under load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.inputs.scenario import Case

Floats = npt.NDArray[np.float64]
Key = tuple[str, ...]

# Verdicts.
SEEN, NOT_SEEN, UNTOLD = "seen", "no sharing seen", "cannot tell"
COLUMNS = ("path", "verdict", "fitted", "low", "high", "depends", "without_off_by", "with_off_by")
# The fit begins with links of so many streams' own rates: it has several local minima.
STARTS = (1.2, 2.5, 6.0)
LEAST_CREATES = 5  # creates that a link must slow down, if it had one stream's rate,
LEAST_CHANGE = 0.05  # and by how much of their logarithm
SURE = 1.96  # standard errors by which creates that the fit did not see must gain


class Fit(Protocol):
    """A fit of keys to observed creates (see sim/importers/calibration.py)."""

    def solve(self) -> tuple[pd.DataFrame, dict[Key, object]]: ...

    def off(self) -> Floats: ...


Fitting = Callable[[Case, pd.DataFrame, list[Key]], Fit]


def candidates(case: Case) -> Iterator[tuple[Key, float]]:
    """The shared rates that the scenario does not give, and the own rate of a stream on each."""
    scenario, rate = case.scenario, case.scenario.glance.stream_mib_s
    nodes = sorted({node for backend in scenario.backends.values() for node in backend.node_names})
    if rate is not None:
        if scenario.glance.total_mib_s is None:
            yield ("glance", "total_mib_s"), rate
        for name in nodes if len(nodes) > 1 else ():  # one node's link is not told from Glance's
            if name not in scenario.nodes or scenario.nodes[name].total_mib_s is None:
                yield ("nodes", name, "total_mib_s"), rate
    for name, backend in scenario.backends.items():
        own = max(backend.write_mib_s or 0.0, backend.clone_mib_s or 0.0)
        if backend.array_mib_s is None and own > 0:
            yield ("backends", name, "array_mib_s"), own


def shared_rates(
    case: Case, observed: pd.DataFrame, keys: list[Key], rates: pd.DataFrame, fitting: Fitting
) -> tuple[pd.DataFrame, pd.DataFrame, dict[Key, object]]:
    """Look for each shared rate in a history. Returns the table `Calibration.shared`, and the rates' table
    and the values, both fitted anew with the shared rates that are seen.

    Every second create is left out of a first fit with and without sharing. A rate is seen if these creates
    fit better with it.
    """
    rows: list[dict[str, Any]] = []
    values: dict[Key, object] = {}
    for key, own in list(candidates(case)):
        row, found = _look(case, observed, keys, key, own, fitting)
        rows.append({"path": key, **row})
        if found is None:
            continue
        table, fitted = found
        keys = [*keys, key]
        values |= fitted
        case = _with(case, fitted)
        assumed = dict(zip(rates["path"], rates["assumed"], strict=True))
        rates = table[table["path"].isin(rates["path"])]
        rates = rates.assign(assumed=rates["path"].map(assumed)).reset_index(drop=True)
    return pd.DataFrame(rows, columns=list(COLUMNS)), rates, values


def _look(
    case: Case, observed: pd.DataFrame, keys: list[Key], key: Key, own: float, fitting: Fitting
) -> tuple[dict[str, Any], tuple[pd.DataFrame, dict[Key, object]] | None]:
    """One row of the table, and a fit to all creates if the rate is seen."""
    row: dict[str, Any] = {"verdict": UNTOLD, "fitted": np.nan, "low": np.nan, "high": np.nan}
    row |= {"without_off_by": np.nan, "with_off_by": np.nan}
    alone, slowest = (fitting(one, observed, keys).off() for one in (case, _with(case, {key: own})))
    row["depends"] = depends = int((np.abs(slowest - alone) > LEAST_CHANGE).sum())
    if depends < LEAST_CREATES:
        return row, None
    first, second = observed.iloc[::2], observed.iloc[1::2]
    without = _with(case, fitting(case, first, keys).solve()[1])
    start, best = own, (np.inf, case)
    for streams in STARTS:
        trial = _with(case, {key: streams * own})
        trial = _with(trial, fitting(trial, first, [*keys, key]).solve()[1])
        loss = float(_loss(fitting(trial, first, keys).off()).sum())
        if loss < best[0]:
            start, best = streams * own, (loss, trial)
    off = [fitting(one, second, keys).off() for one in (without, best[1])]
    row["without_off_by"], row["with_off_by"] = (float(np.exp(np.sqrt(np.mean(each**2)))) for each in off)
    gain = _loss(off[0]) - _loss(off[1])
    row["verdict"] = NOT_SEEN
    if not gain.mean() > SURE * gain.std() / np.sqrt(max(1, len(gain))):
        return row, None
    found = fitting(_with(case, {key: start}), observed, [*keys, key]).solve()
    told = found[0][found[0]["path"] == key].iloc[0]
    if not told["told"]:
        return row, None
    row |= {"verdict": SEEN} | {name: float(told[name]) for name in ("fitted", "low", "high")}
    return row, found


def _loss(off: Floats) -> Floats:
    """Least squares, but creates that went another way count less (soft L1, in units of 20 %)."""
    return np.asarray(np.sqrt(1 + (off / 0.2) ** 2) - 1)


def _with(case: Case, values: dict[Key, object]) -> Case:
    return replace(case, scenario=case.scenario.varied(values)) if values else case
