"""Compares an imported scenario with the observed history and fits the assumed times and rates to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from sim.importers.rate_fit import RESOLUTION_S, Fit, Simulation, first_events, logarithms, value_of
from sim.importers.shared_rates import SEEN, shared_rates
from sim.inputs.beside import beside
from sim.inputs.cells import plain_series
from sim.inputs.problems import BadInput
from sim.inputs.scenario import Case
from sim.workload.loading import load

TOGETHER = "fitted with others: the history tells what they add up to, not each"
TIMES = ("stream_mib_s", "create_s", "clone_s", "write_mib_s", "convert_mib_s")


@dataclass(frozen=True)
class Calibration:
    """The simulation compared with the history, and the fitted times and rates.

    - pools: one row per pool, with `simulated_*` and `observed_*` (NaN: not observed).
    - rates: one row for each assumed time and rate: the `path` of its key, `assumed`, `fitted`, `low`, `high`
      (95 %), `told` (True if the history determines it within a factor of two), `together` (True if the
      history determines only what it adds up to with others; then `low` and `high` are NaN).
    - shared: one row for each rate that transfers may share: the `path` of its key, `verdict` (seen, no
      sharing seen, cannot tell), `fitted`, `low`, `high` (95 %), `depends` (creates that a link of one
      stream's rate would slow down), and `without_off_by`, `with_off_by`: the typical factor
      between simulated and observed seconds of every second create, which the fit did not see.
    - goodness: `rms_factor` (1 = exact) and `r2` of the logarithms of create seconds, before and after the
      fit.
    - case: the scenario with the fitted values.
    """

    pools: pd.DataFrame
    rates: pd.DataFrame
    shared: pd.DataFrame
    goodness: pd.DataFrame
    case: Case


def calibrate(folder: Path, progress: Callable[[int], None] | None = None) -> Calibration:
    """Simulate an imported folder with today's settings on engine `fast`; fit the assumed times and rates.

    `progress` is called with the number of finished simulations. Raises `BadInput` if `folder` does not come
    from an import or is not complete.
    """
    document, case, observed = _read(folder)
    strategy, scenario = document["strategy"], case.scenario
    keys = [key for key in document["assumed"] if key[-1] in TIMES and value_of(scenario, key) > 0]
    if not keys:
        raise BadInput([f"{folder / 'import.json'}: no time or rate was assumed: nothing to fit"])
    simulation = Simulation(first_events(case), strategy, progress)
    fit = Fit(simulation, scenario, observed, keys)
    if simulation.seen(scenario, fit.observed).empty:
        raise BadInput([f"{folder}: no observed create succeeds in the simulation: check its limits"])
    rates, fitted = fit.without_waits(*fit.solve())
    free = simulation.unlocked(scenario.varied(fitted), fit.observed)
    shared, rates, fitted = shared_rates(simulation, free, keys, rates, fitted)
    after = replace(case, scenario=scenario.varied(fitted))
    every = Simulation(case, strategy)
    before_s, after_s = (every.seen(one, observed) for one in (scenario, after.scenario))
    goodness = pd.DataFrame([_goodness("assumed", before_s), _goodness("fitted", after_s)])
    return Calibration(_pools(after, strategy, after_s, document), rates, shared, goodness, after)


def fitted(folder: Path, progress: Callable[[int], None] | None = None) -> tuple[Path, str]:
    """The scenario of an imported folder, fitted to its history where there is one; else why it is not."""
    try:
        return write(calibrate(folder, progress), folder), ""
    except BadInput as error:
        return folder / "scenario.yaml", "; ".join(error.problems)


def _read(folder: Path) -> tuple[dict[str, Any], Case, pd.DataFrame]:
    try:
        document: dict[str, Any] = json.loads((folder / "import.json").read_text())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput([f"{folder / 'import.json'}: an import did not write this file: {reason}"]) from None
    case = load(folder / "scenario.yaml")
    problems = []
    if not isinstance(document, dict) or not set(document) >= {"assumed", "fills", "strategy", "telemetry"}:
        raise BadInput([f"{folder / 'import.json'}: an import did not write this file: it lacks keys"])
    document = document | {"assumed": [tuple(one["path"]) for one in document["assumed"]]}
    if document["strategy"] is None:
        problems.append(f"{folder / 'import.json'}: today's settings are unknown: import again with --conf")
    observed = None
    if (csv := folder / "observed.csv").exists():
        observed = pd.read_csv(csv, dtype={"volume_id": "str"})
        observed = observed.apply(plain_series)
    elif (parquet := folder / "observed.parquet").exists():
        observed = pd.read_parquet(parquet)
    if observed is not None and {"volume_id", "create_s", "downloaded"} <= set(observed.columns):
        # Two clocks give the start and the end, so the end may be before the start.
        observed = observed[observed["create_s"] >= 0]
    if observed is None or observed.empty:
        problems.append(f"{folder}: has no durations of creates: import again with --db or --notifications")
    if problems or observed is None:
        raise BadInput(problems)
    return document, case, observed


def _goodness(which: str, both: pd.DataFrame) -> dict[str, object]:
    simulated, observed = logarithms(both["simulated_s"]), logarithms(both["observed_s"])
    left = float(np.mean((simulated - observed) ** 2))
    spread = float(np.var(observed))
    return {
        "rates": which,
        "creates": len(both),
        "rms_factor": float(np.exp(np.sqrt(left))),
        "r2": 1 - left / spread if spread > 1e-12 else np.nan,
    }


def _pools(case: Case, strategy: str, both: pd.DataFrame, document: dict[str, Any]) -> pd.DataFrame:
    """A row per pool: hits, create seconds, fills and evictions, `simulated_*` beside `observed_*`."""
    from sim.fast.engine import run

    records = run(case, strategy)
    requests = records.requests.assign(host=records.requests["host"].astype("str"))
    told = {row["host"]: row for row in document["telemetry"] or ()}
    rows = []
    for host in case.scenario.pools():
        mine = requests[requests["host"] == host]
        events = records.cache_events[records.cache_events["host"].astype("str") == host]["event"]
        seen = both[both["host"] == host]
        cacheable = mine["source"].isin(["cache", "download"])
        row: dict[str, Any] = {
            "host": host,
            "creates": len(mine),
            "simulated_clone_hit_rate": 1 - (seen["source"] == "download").mean(),
            "observed_clone_hit_rate": 1 - seen["downloaded"].mean(),
            "simulated_hit_rate": (mine["source"] == "cache").sum() / max(1, cacheable.sum()),
            "observed_hit_rate": told.get(host, {}).get("hit_rate"),
            "simulated_fills": int((events == "create").sum()),
            "observed_fills": (document["fills"] or {}).get(host, 0)
            if document["fills"] is not None
            else None,
            "simulated_evictions": int(events.isin(["evict", "stale"]).sum()),
            "observed_evictions": told.get(host, {}).get("evictions"),
            "ks": _ks(seen),
        }
        for name in ("simulated", "observed"):
            for share in (0.5, 0.95):
                row[f"{name}_s_p{round(100 * share)}"] = seen[f"{name}_s"].quantile(share)
        rows.append(row)
    return pd.DataFrame(rows).infer_objects()


def _ks(seen: pd.DataFrame) -> float:
    """Kolmogorov-Smirnov distance between the two distributions of create seconds (0: the same)."""
    if seen.empty:
        return float("nan")
    simulated, observed = ((seen[name] / RESOLUTION_S).round() for name in ("simulated_s", "observed_s"))
    return float(stats.ks_2samp(simulated, observed).statistic)


def write(calibration: Calibration, folder: Path) -> Path:
    """Write `calibrated.yaml` with the fitted values beside the imported scenario; return its path."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    yaml = YAML()  # it keeps comments and order
    yaml.width = 4096
    scenario = yaml.load((folder / "scenario.yaml").read_text())
    shared = calibration.shared[calibration.shared["verdict"] == SEEN]
    rates = calibration.rates[calibration.rates["told"] | calibration.rates["together"]]
    for row in [*rates.to_dict("records"), *shared.to_dict("records")]:
        *path, key = row["path"]
        place = scenario
        for part in path:
            place = place.setdefault(part, CommentedMap())
        place[key] = row["fitted"]
        alone = f"fitted: {row['low']:.3g} to {row['high']:.3g} (95 %)"
        place.yaml_add_eol_comment(TOGETHER if row.get("together") is True else alone, key)
    target = folder / "calibrated.yaml"
    with beside(target) as (new,), new.open("w") as file:
        yaml.dump(scenario, file)
    return target
