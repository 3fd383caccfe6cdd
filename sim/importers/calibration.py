"""Compares an imported scenario with the observed history and fits the assumed times and rates to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, stats

from sim.importers.shared_rates import SEEN, Fitting, shared_rates
from sim.inputs.beside import beside
from sim.inputs.cells import plain_series
from sim.inputs.hosts import backend_of
from sim.inputs.problems import BadInput
from sim.inputs.scenario import Case
from sim.inputs.units import MIB
from sim.model.arrays import written_bytes
from sim.workload.loading import load

Floats = npt.NDArray[np.float64]
Key = tuple[str, ...]

TIMES = ("stream_mib_s", "create_s", "clone_s", "write_mib_s", "convert_mib_s")
# The fit repeats its simulation and uses this many events; the comparison uses all events.
FITTED_EVENTS = 100_000
# Many databases store whole seconds, which says nothing about durations below one second.
RESOLUTION_S = 1.0
SHARED, STEP = ("total_mib_s", "array_mib_s"), 0.05  # keys of shared rates, and a step of their logarithm
# Weight of the prior, which holds a value at its assumption if the history does not determine it: the
# weight of a hundredth of a create that consists of nothing else.
PRIOR = 0.5
# Log create seconds that are off by more than this get less weight: those creates waited or went another way.
SCALE = 0.2
MOST_RUNS = 50
LEAST_CREATES = 5  # creates that must depend on a value before the fit determines it,
LEAST_SLOPE = 0.25  # and how much they depend on it: about a twentieth of their time
MOST_SHIFT = np.log(50)  # no assumption is wrong by more than this factor


@dataclass(frozen=True)
class Calibration:
    """The simulation compared with the history, and the fitted times and rates.

    - pools: one row per pool, with `simulated_*` and `observed_*` (NaN: not observed).
    - rates: one row for each assumed time and rate: the `path` of its key, `assumed`, `fitted`, `low`, `high`
      (95 %), `told` (True if the history determines it within a factor of two).
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
    strategy = document["strategy"]
    keys = [key for key in document["assumed"] if key[-1] in TIMES and _value(case, key) > 0]
    if not keys:
        raise BadInput([f"{folder / 'import.json'}: no time or rate was assumed: nothing to fit"])
    fit = _Fit(_first(case, FITTED_EVENTS), strategy, observed, keys, progress)
    if _simulated(case, strategy, fit.observed).empty:
        raise BadInput([f"{folder}: no observed create succeeds in the simulation: check its limits"])
    rates, fitted = fit.without_waits(*fit.solve())
    free = fit.unlocked(replace(fit.case, scenario=case.scenario.varied(fitted)))
    # From the assumed values again: the fit without sharing took slower creates for lower rates.
    shared, rates, more = shared_rates(fit.case, free, keys, rates, _fitting(strategy, progress))
    fitted |= more
    after = replace(case, scenario=case.scenario.varied(fitted))
    before_s, after_s = _simulated(case, strategy, observed), _simulated(after, strategy, observed)
    goodness = pd.DataFrame([_goodness("assumed", before_s), _goodness("fitted", after_s)])
    return Calibration(_pools(after, strategy, observed, document), rates, shared, goodness, after)


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


def _fitting(strategy: str, progress: Callable[[int], None] | None) -> Fitting:
    def fit(case: Case, observed: pd.DataFrame, keys: list[Key]) -> _Fit:
        return _Fit(case, strategy, observed, keys, progress)

    return fit


def _first(case: Case, events: int) -> Case:
    return replace(case, trace=replace(case.trace, events=case.trace.events.iloc[:events]))


def _simulated(case: Case, strategy: str, observed: pd.DataFrame) -> pd.DataFrame:
    """Creates that succeeded in both: volume, image, host, source, `simulated_s` and `observed_s`."""
    from sim.fast.engine import run

    requests = run(case, strategy).requests
    both = requests[requests["status"] == "available"].merge(observed, on="volume_id")
    text = {name: both[name].astype("str") for name in ("volume_id", "image_id", "host", "source")}
    seconds = {"simulated_s": both["end"] - both["time"], "observed_s": both["create_s"]}
    return pd.DataFrame({**text, **seconds, "downloaded": both["downloaded"]})


def _logarithms(seconds: Floats | pd.Series[float]) -> Floats:
    return np.asarray(np.log(np.asarray(seconds, dtype=np.float64) + RESOLUTION_S))


def _of_whole_seconds(seconds: Floats) -> Floats:
    """Mean of `_logarithms` if start and end are cut to whole seconds, as MySQL stores them."""
    low = np.floor(seconds)
    return (1 - (seconds - low)) * _logarithms(low) + (seconds - low) * _logarithms(low + 1)


class _Fit:
    """Least squares over the logarithms of create seconds, robust against creates that went another way."""

    def __init__(
        self,
        case: Case,
        strategy: str,
        observed: pd.DataFrame,
        keys: list[Key],
        progress: Callable[[int], None] | None,
    ) -> None:
        self.case, self.strategy, self.keys = case, strategy, keys
        self.observed = observed[observed["volume_id"].isin(case.trace.events["volume_id"])]
        self.seconds = self.observed["create_s"].to_numpy(dtype=np.float64)
        self.whole = bool(np.all(self.seconds == np.round(self.seconds)))
        # Two readings of a clock with whole seconds differ by up to this much; such a difference is no
        # outlier.
        rounded_s = RESOLUTION_S / np.sqrt(6) if self.whole else 0.0
        self.scale = SCALE + rounded_s / (self.seconds + RESOLUTION_S)
        self.start = np.log([_value(case, key) for key in keys])
        self.progress = progress
        self.runs = 0
        self.last: tuple[bytes, Floats, Floats] | None = None
        self.other_way: npt.NDArray[np.bool_] | None = None  # clones here, downloads there

    def without_waits(self, rates: pd.DataFrame, fitted: dict[Key, object]) -> tuple[pd.DataFrame, Any]:
        """Fit once more, without the creates that waited for a lock in the simulation of the first fit.

        Who of several gets a lock next is chance in a cloud, and not in the simulation. So these creates say
        little, and the first fit takes a part of their waits for times. It stays if this one determines less.
        """
        free = self.unlocked(replace(self.case, scenario=self.case.scenario.varied(fitted)))
        left_out = ~self.observed["volume_id"].isin(free["volume_id"]).to_numpy()
        if self.other_way is None or not left_out.any():
            return rates, fitted
        self.other_way, self.last = self.other_way | left_out, None
        again = self.solve()
        return again if again[0]["told"].sum() >= rates["told"].sum() else (rates, fitted)

    def unlocked(self, case: Case) -> pd.DataFrame:
        """The observed creates without those that wait for a lock in a simulation."""
        from sim.fast.engine import run

        requests = run(case, self.strategy).requests
        waited = requests.loc[requests["lock_wait_s"] > 0, "volume_id"].astype("str")
        return self.observed[~self.observed["volume_id"].isin(waited)]

    def off(self) -> Floats:
        """How far the logarithm of each create's simulated seconds is off, with the values of the case."""
        residuals, _ = self.model(np.zeros(len(self.keys)))
        return np.asarray(residuals[: -len(self.keys)] * self.scale)

    def solve(self) -> tuple[pd.DataFrame, dict[Key, object]]:
        """The rates' table, and the fitted value of each key that the history determines."""
        found = optimize.least_squares(
            self.residuals,
            np.zeros(len(self.keys)),  # a start from which the first step is moderate
            jac=self.slopes,
            bounds=(-MOST_SHIFT, MOST_SHIFT),
            loss="soft_l1",
            max_nfev=MOST_RUNS,
        )
        half, held = self._half_widths(found.x)
        inside = np.abs(found.x) < 0.99 * MOST_SHIFT
        told = inside & ~held & (half < np.log(2)) & (found.status > 0)
        values = self.start + np.where(told, found.x, 0.0)
        rows = [
            {
                "path": key,
                "assumed": float(np.exp(start)),
                "fitted": float(f"{np.exp(value):.4g}"),
                "low": float(np.exp(value - width)) if one else np.nan,
                "high": float(np.exp(value + width)) if one else np.nan,
                "told": bool(one),
            }
            for key, start, value, width, one in zip(self.keys, self.start, values, half, told, strict=True)
        ]
        table = pd.DataFrame(rows, columns=["path", "assumed", "fitted", "low", "high", "told"])
        fitted: dict[Key, object] = {
            key: row["fitted"] for key, row in zip(self.keys, rows, strict=True) if row["told"]
        }
        return table, fitted

    def _half_widths(self, shift: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Half the 95 % interval of each value's logarithm, and which values only the prior determines.

        The covariance is that of an M-estimate (Huber 1967; soft L1's influence is r w, its slope w^3). It
        includes the error of whole seconds, which more creates do not reduce.
        """
        residuals, slopes = (part[: -len(self.keys)] for part in self.model(shift))
        used = np.abs(slopes) > LEAST_SLOPE
        count, free = int(used.any(axis=1).sum()), len(self.keys)
        weight = 1 / np.sqrt(1 + residuals**2)
        scores = slopes * (weight * residuals)[:, None]
        bread = slopes.T @ (slopes * weight[:, None] ** 3)
        inverse = np.linalg.pinv(bread + PRIOR**2 * np.eye(free))
        covariance = inverse @ (scores.T @ scores) @ inverse * count / max(1, count - free)
        half = stats.t.ppf(0.975, max(1, count - free)) * np.sqrt(np.maximum(np.diag(covariance), 0))
        if self.whole:
            half += np.abs(inverse @ (slopes.T @ (weight**3 * self.rounding)))
        return half, (np.diag(inverse) * PRIOR**2 > 0.1) | (used.sum(axis=0) < LEAST_CREATES)

    def residuals(self, shift: Floats) -> Floats:
        return self.model(shift)[0]

    def slopes(self, shift: Floats) -> Floats:
        return self.model(shift)[1]

    def model(self, shift: Floats) -> tuple[Floats, Floats]:
        """Residuals of creates and prior, and their slopes, with each value's logarithm shifted by `shift`.

        The slopes come from the formulas of a create's own parts. The next simulation adds waits for other
        creates.
        """
        if self.last is not None and self.last[0] == shift.tobytes():
            return self.last[1:]
        values: dict[Key, object] = dict(zip(self.keys, map(float, np.exp(self.start + shift)), strict=True))
        case = replace(self.case, scenario=self.case.scenario.varied(values))
        seen = _simulated(case, self.strategy, self.observed)
        seen = self.observed[["volume_id"]].merge(seen, on="volume_id", how="left")  # always one row each
        if self.other_way is None:  # decided once, or the fit could gain by moving creates
            downloaded = seen["downloaded"].to_numpy(dtype=np.float64)
            simulated = (seen["source"] == "download").to_numpy(dtype=np.float64)
            self.other_way = ~np.isnan(downloaded) & (downloaded != simulated)
        simulated_s = seen["simulated_s"].to_numpy(dtype=np.float64)
        logarithms = _logarithms(simulated_s)
        if self.whole:
            smooth = logarithms - (RESOLUTION_S / (simulated_s + RESOLUTION_S)) ** 2 / 12
            logarithms = _of_whole_seconds(simulated_s)
            # The first applies if a create always takes the same time, the second if the time varies by 1 s
            # or more.
            self.rounding = np.nan_to_num((logarithms - smooth) / self.scale)
        off = np.nan_to_num((logarithms - _logarithms(self.seconds)) / self.scale)
        off[self.other_way] = 0.0
        parts = np.stack([self._slope(case, seen, key) for key in self.keys], axis=1)
        total = ((simulated_s + RESOLUTION_S) * self.scale)[:, None]
        residuals = np.concatenate([off, PRIOR * shift])
        slopes = np.nan_to_num(parts / total)
        slopes[self.other_way] = 0.0
        slopes = np.concatenate([slopes, PRIOR * np.eye(len(shift))])
        self.last = shift.tobytes(), residuals, slopes
        self.runs += 1
        if self.progress is not None:
            self.progress(self.runs)
        return residuals, slopes

    def _slope(self, case: Case, seen: pd.DataFrame, key: Key) -> Floats:
        """What each create's seconds gain with the logarithm of a value; of a shared rate, by simulation."""
        if key[-1] not in SHARED:
            return _part(case, seen, key)
        faster = replace(case, scenario=case.scenario.varied({key: _value(case, key) * np.exp(STEP)}))
        other = seen[["volume_id"]].merge(
            _simulated(faster, self.strategy, self.observed), on="volume_id", how="left"
        )
        return np.nan_to_num((other["simulated_s"] - seen["simulated_s"]).to_numpy(dtype=np.float64) / STEP)


def _part(case: Case, seen: pd.DataFrame, key: Key) -> Floats:
    """The part of each create's seconds that a time (its seconds) or a rate (minus its seconds) causes."""
    name, value = key[-1], _value(case, key)
    images = pd.DataFrame(
        {
            "size": [image.size_bytes for image in case.images.values()],
            "data": [image.data_bytes for image in case.images.values()],
            "raw": [image.disk_format == "raw" for image in case.images.values()],
        },
        index=list(case.images),
    ).reindex(seen["image_id"])
    written = images["data"]
    if key[0] == "backends":
        spec = case.scenario.backends[key[1]]
        written = pd.Series({name: written_bytes(image, spec) for name, image in case.images.items()})
        written = written.reindex(seen["image_id"])
    mib = {
        "stream_mib_s": images["size"] / MIB,
        "write_mib_s": written / MIB,
        "convert_mib_s": (images["data"] / MIB).where(images["raw"] != True, 0.0),  # noqa: E712  NaN too
    }
    downloaded = (seen["source"] == "download").to_numpy()
    backends = seen["host"].map(backend_of, na_action="ignore")
    here = backends.eq(key[1]).to_numpy() if key[0] == "backends" else True
    if name in mib:
        return np.where(downloaded & here, -mib[name].to_numpy(dtype=np.float64) / value, 0.0)
    # A download that fills the cache is cloned too; few downloads do not fill it.
    takes = downloaded if name == "create_s" else np.ones(len(seen), dtype=bool)
    return np.where(takes & here, value, 0.0)


def _value(case: Case, key: Key) -> float:
    place: Any = case.scenario.model_dump(by_alias=True)
    for part in key:
        place = place[part]
    return float(place or 0)


def _goodness(which: str, both: pd.DataFrame) -> dict[str, object]:
    simulated, observed = _logarithms(both["simulated_s"]), _logarithms(both["observed_s"])
    left = float(np.mean((simulated - observed) ** 2))
    spread = float(np.var(observed))
    return {
        "rates": which,
        "creates": len(both),
        "rms_factor": float(np.exp(np.sqrt(left))),
        "r2": 1 - left / spread if spread > 1e-12 else np.nan,
    }


def _pools(case: Case, strategy: str, observed: pd.DataFrame, document: dict[str, Any]) -> pd.DataFrame:
    """A row per pool: hits, create seconds, fills and evictions, `simulated_*` beside `observed_*`."""
    from sim.fast.engine import run

    records = run(case, strategy)
    both = _simulated(case, strategy, observed)
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
    for row in [*calibration.rates[calibration.rates["told"]].to_dict("records"), *shared.to_dict("records")]:
        *path, key = row["path"]
        place = scenario
        for part in path:
            place = place.setdefault(part, CommentedMap())
        place[key] = row["fitted"]
        place.yaml_add_eol_comment(f"fitted: {row['low']:.3g} to {row['high']:.3g} (95 %)", key)
    target = folder / "calibrated.yaml"
    with beside(target) as (new,), new.open("w") as file:
        yaml.dump(scenario, file)
    return target
