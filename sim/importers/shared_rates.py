"""Whether transfers share a rate: what `calibrate` finds in creates that were slower under load."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from sim.importers.rate_fit import Fit, Floats, Key, Simulation
from sim.inputs.scenario import Scenario

# Verdicts.
SEEN, NOT_SEEN, UNTOLD = "seen", "no sharing seen", "cannot tell"
COLUMNS = ("path", "verdict", "fitted", "low", "high", "depends", "without_off_by", "with_off_by")
# Links of so many streams' own rates are tried: a fit has several local minima.
STREAMS = (1.2, 2.5, 6.0)
LEAST_CREATES = 5  # creates that a link must slow down, if it had one stream's rate,
LEAST_CHANGE = 0.05  # and by how much of their logarithm
SURE = 1.96  # standard errors


def candidates(scenario: Scenario) -> Iterator[tuple[Key, float]]:
    """The shared rates that the scenario does not give, and the own rate of a stream on each."""
    rate = scenario.glance.stream_mib_s
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
    simulation: Simulation,
    observed: pd.DataFrame,
    keys: list[Key],
    rates: pd.DataFrame,
    fitted: dict[Key, object],
) -> tuple[pd.DataFrame, pd.DataFrame, dict[Key, object]]:
    """Look for shared rates in a history, beside the fit of `keys`: its table and its values.

    Returns the table `Calibration.shared`, and the table of the keys' rates and all values, both fitted anew
    if there is a shared rate. The one that explains most is taken first. The others then must explain what
    is left.
    """
    scenario = simulation.case.scenario
    rows: dict[Key, dict[str, Any]] = {}
    assumed = dict(zip(rates["path"], rates["assumed"], strict=True))
    while True:
        left = list(candidates(scenario.varied(fitted)))
        looks = {key: _look(simulation, observed, keys, fitted, key, own) for key, own in left}
        rows |= looks
        seen = {key: look for key, look in looks.items() if look["verdict"] == SEEN}
        if not seen:
            break
        best = max(seen, key=lambda key: seen[key]["gain"])
        keys, rates, fitted = [*keys, best], seen[best]["rates"], seen[best]["values"]
    for row in rates.to_dict("records"):
        if row["path"] in rows:
            rows[row["path"]] |= {name: row[name] for name in ("fitted", "low", "high")}
    table = pd.DataFrame([{"path": key, **row} for key, row in rows.items()], columns=list(COLUMNS))
    rates = rates[rates["path"].isin(list(assumed))]
    return table, rates.assign(assumed=rates["path"].map(assumed)).reset_index(drop=True), fitted


def _look(
    simulation: Simulation,
    observed: pd.DataFrame,
    keys: list[Key],
    fitted: dict[Key, object],
    key: Key,
    own: float,
) -> dict[str, Any]:
    """One row of the table; if the rate is seen, the fit with it too: its `rates` and `values`, and how much
    it explains (`gain`)."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS[2:], np.nan) | {"verdict": UNTOLD}

    def fit(scenario: Scenario, creates: pd.DataFrame, *more: Key) -> Fit:
        return Fit(simulation, scenario, creates, [*keys, *more])

    # The fit so far took slower creates for lower rates of streams. It is where new fits begin: a stream's
    # rate above that of its link would not matter, and no fit would move it.
    base = simulation.case.scenario.varied(fitted)
    alone = fit(base, observed)
    slowest = fit(base.varied({key: own}), observed)
    row["depends"] = int((np.abs(slowest.off() - alone.off()) > LEAST_CHANGE).sum())
    if row["depends"] < LEAST_CREATES:
        return row
    row["verdict"] = NOT_SEEN
    scores = {s: alone.score(fit(base.varied({key: s * own}), observed)) for s in STREAMS}
    streams = max(scores, key=lambda s: scores[s])
    if scores[streams] < SURE:
        return row
    # Fit every second create, with and without the rate, and compare on the others.
    first, second = observed.iloc[::2], observed.iloc[1::2]
    start = base.varied({key: streams * own})
    off = [
        fit(scenario.varied(fit(scenario, first, *more).solve()[1]), second).off()
        for scenario, more in ((base, ()), (start, (key,)))
    ]
    row["without_off_by"], row["with_off_by"] = (float(np.exp(np.sqrt(np.mean(each**2)))) for each in off)
    gain = _loss(off[0]) - _loss(off[1])
    if not gain.mean() > SURE * gain.std() / np.sqrt(max(1, len(gain))):
        return row
    rates, values = fit(start, observed, key).solve()
    if key in values:
        row |= {"verdict": SEEN, "gain": float(gain.mean()), "rates": rates, "values": values}
    return row


def _loss(off: Floats) -> Floats:
    """Least squares, but creates that went another way count less (soft L1, in units of 20 %)."""
    return np.asarray(np.sqrt(1 + (off / 0.2) ** 2) - 1)
