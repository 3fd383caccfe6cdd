"""Fits the times and rates of a scenario to the seconds that creates took in a history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, stats

from sim.inputs.hosts import backend_of
from sim.inputs.scenario import Case, Scenario
from sim.inputs.units import MIB
from sim.model.arrays import written_bytes

Floats = npt.NDArray[np.float64]
Key = tuple[str, ...]

# The fit repeats its simulation and uses this many events; the comparison uses all events.
FITTED_EVENTS = 100_000
# Many databases store whole seconds, which says nothing about durations below one second.
RESOLUTION_S = 1.0
# Rates of links, and of the streams that share them.
SHARED, OWN = ("total_mib_s", "array_mib_s"), ("stream_mib_s", "write_mib_s")
STEP = 0.05  # of a rate's logarithm
# Weight of the prior, which holds a value at its assumption if the history does not determine it: the
# weight of a hundredth of a create that consists of nothing else.
PRIOR = 0.5
# Log create seconds that are off by more than this get less weight: those creates waited or went another way.
SCALE = 0.2
MOST_RUNS = 50
LEAST_CREATES = 5  # creates that must depend on a value before the fit determines it,
LEAST_SLOPE = 0.25  # and how much they depend on it: about a twentieth of their time
MOST_SHIFT = np.log(50)  # no assumption is wrong by more than this factor


class Simulation:
    """A case that runs often, with other times and rates. `progress` is told how often it has run."""

    def __init__(self, case: Case, strategy: str, progress: Callable[[int], None] | None = None) -> None:
        from sim.fast.engine import Prepared

        self._prepared = Prepared(case)
        self.case, self._strategy, self._progress = case, strategy, progress
        self._runs = 0

    def requests(self, scenario: Scenario) -> pd.DataFrame:
        """`Records.requests` with the times and rates of a scenario."""
        from sim.fast.engine import tables_of

        prepared = self._prepared
        s, _, _ = prepared.play(scenario, self._strategy)
        self._runs += 1
        if self._progress is not None:
            self._progress(self._runs)
        asked = prepared.asked
        rows, queued = s.rows[: len(asked)], s.queued[: len(asked)]
        return tables_of(rows, queued, prepared.case, prepared.names, asked)[0]

    def seen(self, scenario: Scenario, observed: pd.DataFrame) -> pd.DataFrame:
        """Creates that succeed in both: volume, image, host, source, `simulated_s` and `observed_s`."""
        requests = self.requests(scenario)
        both = requests[requests["status"] == "available"].merge(observed, on="volume_id")
        text = {name: both[name].astype("str") for name in ("volume_id", "image_id", "host", "source")}
        seconds = {"simulated_s": both["end"] - both["time"], "observed_s": both["create_s"]}
        return pd.DataFrame({**text, **seconds, "downloaded": both["downloaded"]})

    def unlocked(self, scenario: Scenario, observed: pd.DataFrame) -> pd.DataFrame:
        """The observed creates without those that wait for a lock, for a turn to clone or for a thread."""
        requests = self.requests(scenario)
        named = [name for name in ("lock_wait_s", "clone_wait_s", "thread_wait_s") if name in requests]
        waited = requests.loc[(requests[named] > 0).any(axis=1), "volume_id"].astype("str")
        return observed[~observed["volume_id"].isin(waited)]


def first_events(case: Case, events: int = FITTED_EVENTS) -> Case:
    """A case with the first events of its trace alone."""
    return replace(case, trace=replace(case.trace, events=case.trace.events.iloc[:events]))


def logarithms(seconds: Floats | pd.Series[float]) -> Floats:
    """Logarithms in which a second more or less of a short create does not matter."""
    return np.asarray(np.log(np.asarray(seconds, dtype=np.float64) + RESOLUTION_S))


def _of_whole_seconds(seconds: Floats) -> Floats:
    """Mean of `logarithms` if start and end are cut to whole seconds, as MySQL stores them."""
    low = np.floor(seconds)
    return (1 - (seconds - low)) * logarithms(low) + (seconds - low) * logarithms(low + 1)


class Fit:
    """Least squares over the logarithms of create seconds, robust against creates that went another way."""

    def __init__(
        self, simulation: Simulation, scenario: Scenario, observed: pd.DataFrame, keys: list[Key]
    ) -> None:
        self.simulation, self.scenario, self.keys = simulation, scenario, keys
        self.observed = observed[observed["volume_id"].isin(simulation.case.trace.events["volume_id"])]
        self.seconds = self.observed["create_s"].to_numpy(dtype=np.float64)
        self.whole = bool(np.all(self.seconds == np.round(self.seconds)))
        # Two readings of a clock with whole seconds differ by up to this much; such a difference is no
        # outlier.
        rounded_s = RESOLUTION_S / np.sqrt(6) if self.whole else 0.0
        self.scale = SCALE + rounded_s / (self.seconds + RESOLUTION_S)
        self.start = np.log([value_of(scenario, key) for key in keys])
        self.last: tuple[bytes, Floats, Floats] | None = None
        self.other_way: npt.NDArray[np.bool_] | None = None  # clones here, downloads there

    def without_waits(self, rates: pd.DataFrame, fitted: dict[Key, object]) -> tuple[pd.DataFrame, Any]:
        """Fit once more, without the creates that waited in the simulation of the first fit (`unlocked`).

        Who of several is next is chance in a cloud, and not in the simulation. So these creates say little,
        and the first fit takes a part of their waits for times. It stays if this one determines less.
        """
        free = self.simulation.unlocked(self.scenario.varied(fitted), self.observed)
        left_out = ~self.observed["volume_id"].isin(free["volume_id"]).to_numpy()
        if self.other_way is None or not left_out.any():
            return rates, fitted
        self.other_way, self.last = self.other_way | left_out, None
        again = self.solve()
        return again if again[0]["told"].sum() >= rates["told"].sum() else (rates, fitted)

    def off(self) -> Floats:
        """How far the logarithm of each create's simulated seconds is off, with the scenario's values."""
        residuals, _ = self.model(np.zeros(len(self.keys)))
        return np.asarray(residuals[: -len(self.keys)] * self.scale)

    def score(self, other: Fit) -> float:
        """Whether creates are off as they would be if the truth were another scenario: standard errors.

        A score test (Rao 1948): the part of the change that the keys cannot bring about, against the
        residuals, with the weights of the loss.
        """
        residuals, slopes = self.model(np.zeros(len(self.keys)))
        change = np.append((other.off() - self.off()) / self.scale, np.zeros(len(self.keys)))
        weight = 1 / np.sqrt(1 + residuals**2)
        of_keys, *_ = np.linalg.lstsq(slopes * weight[:, None], change * weight, rcond=None)
        each = -weight * residuals * (change - slopes @ of_keys)
        error = np.sqrt(np.sum(each**2))
        return float(each.sum() / error) if error > 0 else 0.0

    def solve(self) -> tuple[pd.DataFrame, dict[Key, object]]:
        """The rates' table, and the fitted value of each key that the history determines, alone or together.

        Together: downloads of images that are alike tell what the parts of a download add up to, and not each
        part. The prior then shares that among the parts, so that none is further from its assumption than it
        has to be. Their own values are not told; the sum is.
        """
        found = optimize.least_squares(
            self.residuals,
            np.zeros(len(self.keys)),  # a start from which the first step is moderate
            jac=self.slopes,
            bounds=(-MOST_SHIFT, MOST_SHIFT),
            loss="soft_l1",
            max_nfev=MOST_RUNS,
        )
        half, held, few = self._half_widths(found.x)
        inside = (np.abs(found.x) < 0.99 * MOST_SHIFT) & (found.status > 0) & ~few
        told = inside & ~held & (half < np.log(2))
        together = inside & held
        values = self.start + np.where(told | together, found.x, 0.0)
        rows = [
            {
                "path": key,
                "assumed": float(np.exp(start)),
                "fitted": float(f"{np.exp(value):.4g}"),
                "low": float(np.exp(value - width)) if one else np.nan,
                "high": float(np.exp(value + width)) if one else np.nan,
                "told": bool(one),
                "together": bool(other),
            }
            for key, start, value, width, one, other in zip(
                self.keys, self.start, values, half, told, together, strict=True
            )
        ]
        table = pd.DataFrame(rows, columns=["path", "assumed", "fitted", "low", "high", "told", "together"])
        fitted: dict[Key, object] = {
            key: row["fitted"]
            for key, row in zip(self.keys, rows, strict=True)
            if row["told"] or row["together"]
        }
        return table, fitted

    def _half_widths(self, shift: Floats) -> tuple[Floats, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Half the 95 % interval of each value's logarithm; which values the prior determines, and which too
        few creates depend on.

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
        return half, np.diag(inverse) * PRIOR**2 > 0.1, used.sum(axis=0) < LEAST_CREATES

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
        scenario = self.scenario.varied(values)
        seen = self.simulation.seen(scenario, self.observed)
        seen = self.observed[["volume_id"]].merge(seen, on="volume_id", how="left")  # always one row each
        if self.other_way is None:  # decided once, or the fit could gain by moving creates
            downloaded = seen["downloaded"].to_numpy(dtype=np.float64)
            downloads = (seen["source"] == "download").to_numpy(dtype=np.float64)
            self.other_way = ~np.isnan(downloaded) & (downloaded != downloads)
        simulated_s = seen["simulated_s"].to_numpy(dtype=np.float64)
        simulated = logarithms(simulated_s)
        if self.whole:
            smooth = simulated - (RESOLUTION_S / (simulated_s + RESOLUTION_S)) ** 2 / 12
            simulated = _of_whole_seconds(simulated_s)
            # The first applies if a create always takes the same time, the second if the time varies by 1 s
            # or more.
            self.rounding = np.nan_to_num((simulated - smooth) / self.scale)
        off = np.nan_to_num((simulated - logarithms(self.seconds)) / self.scale)
        off[self.other_way] = 0.0
        parts = np.stack([self._slope(scenario, seen, key) for key in self.keys], axis=1)
        total = ((simulated_s + RESOLUTION_S) * self.scale)[:, None]
        residuals = np.concatenate([off, PRIOR * shift])
        slopes = np.nan_to_num(parts / total)
        slopes[self.other_way] = 0.0
        slopes = np.concatenate([slopes, PRIOR * np.eye(len(shift))])
        self.last = shift.tobytes(), residuals, slopes
        return residuals, slopes

    def _slope(self, scenario: Scenario, seen: pd.DataFrame, key: Key) -> Floats:
        """What each create's seconds gain with the logarithm of a value.

        Where transfers share a rate, one more simulation tells: a stream's own rate may not matter there.
        """
        if key[-1] not in SHARED and not (key[-1] in OWN and any(each[-1] in SHARED for each in self.keys)):
            return _part(scenario, self.simulation.case, seen, key)
        faster = scenario.varied({key: value_of(scenario, key) * np.exp(STEP)})
        other = seen[["volume_id"]].merge(
            self.simulation.seen(faster, self.observed), on="volume_id", how="left"
        )
        return np.nan_to_num((other["simulated_s"] - seen["simulated_s"]).to_numpy(dtype=np.float64) / STEP)


def _part(scenario: Scenario, case: Case, seen: pd.DataFrame, key: Key) -> Floats:
    """The part of each create's seconds that a time (its seconds) or a rate (minus its seconds) causes."""
    name, value = key[-1], value_of(scenario, key)
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
        spec = scenario.backends[key[1]]
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


def value_of(scenario: Scenario, key: Key) -> float:
    """The number at a key; 0 if there is none."""
    place: Any = scenario.model_dump(by_alias=True)
    for part in key:
        place = place[part]
    return float(place or 0)
