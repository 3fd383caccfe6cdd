"""The figures of one point with their intervals: by tier, by backend and in all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sim.analysis.statistics import Estimate, Sample
from sim.inputs.hosts import backend_of as host_backend
from sim.inputs.scenario import Scenario
from sim.planner.measured import Floats, Measured, Runs, backend_of, tiers_of
from sim.planner.simulator import Load
from sim.sweep.results import ALL

Figures = dict[str, Any]
EVERY = "all"  # the name of ALL in documents


def figures(
    runs: Runs, scenario: Scenario, sample: Sample, confidence: float
) -> dict[str, dict[str, Figures]]:
    """The figures of a plan's document, under `tiers` (with `all`) and `backends`, by name.

    errors: failed creates, from an image or not. other_errors: the part of them that is not from an image.
    hit_rate, p95_s, errors, other_errors, space_gib_mean and price_month also have `_low` and `_high`, over
    replications or by a bootstrap over the blocks of one history; None without an interval (`p95_s` of one
    history: see `p95_interval`). Peaks are the greatest of the replications.
    """
    tiers = tiers_of(scenario, [runs])
    told = {
        tier or EVERY: _figures(of, tier, of.units("creates", tier)[0], scenario, sample, confidence)
        for tier, of in tiers.items()
    }
    prices = [sample.mean(tiers[tier].prices(scenario)) for tier in scenario.tiers]
    told[EVERY] |= _told("price_month", sum(prices[1:], start=prices[0]), sample, confidence)
    backends = {}
    for name in scenario.backends:
        of = backend_of(scenario, name, [runs])
        backends[name] = _figures(of, ALL, of.units("creates", ALL)[0], scenario, sample, confidence)
        backends[name]["volumes_peak"] = int(of.volumes_peak()[0])
    return {"tiers": told, "backends": backends}


def _figures(
    of: Measured, tier: str, creates: Floats, scenario: Scenario, sample: Sample, confidence: float
) -> Figures:
    made = of.units("made", tier)[0]
    estimates = {
        "hit_rate": sample.ratio(of.units("clones", tier), creates) if creates.sum() else None,
        "p95_s": _over_replications(of, "create_s_p95", sample) if made.sum() else None,
        "errors": sample.total(of.failures(tier)),
        "other_errors": sample.total(of.units("other_errors", tier)),
        "space_gib_mean": sample.mean(of.levels("image_provisioned_gib")),
        "price_month": sample.mean(of.prices(scenario)),
    }
    found: Figures = {"creates": float(of.mean("creates")[0])}
    for name, estimate in estimates.items():
        found |= _told(name, estimate, sample, confidence)
    if made.sum():
        found["p95_s"] = float(of.mean("create_s_p95")[0])
    found["space_gib_peak"] = float(of.peak("image_provisioned_gib_peak")[0])
    found["image_volumes_peak"] = int(of.peak("image_volumes_peak")[0])
    return found


def _over_replications(of: Measured, column: str, sample: Sample) -> Estimate | None:
    values = of.values(column)
    return sample.mean(values) if values.shape[1] > 1 and not np.isnan(values).any() else None


def _told(name: str, estimate: Estimate | None, sample: Sample, confidence: float) -> Figures:
    """The estimate of one candidate as three figures, cut off at values that cannot occur."""
    if estimate is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    one = Estimate(estimate.point[0], estimate.deviations[0])
    interval = sample.interval(one, confidence)
    high = min(interval.high, 1.0) if name == "hit_rate" else interval.high
    return {name: interval.mean, f"{name}_low": max(interval.low, 0.0), f"{name}_high": high}


def add_p95(
    told: dict[str, dict[str, Figures]], requests: pd.DataFrame, load: Load, sample: Sample, confidence: float
) -> None:
    """Add intervals of the 95th percentile for one history, from its requests, to what `figures` returns."""
    made = requests[(requests["status"] == "available") & (requests["time"] >= load.warm_up_s)]
    time, seconds = made["time"].to_numpy(float), (made["end"] - made["time"]).to_numpy(float)
    block = load.blocks_of(time)
    tier = made["volume_type"].to_numpy(object)
    backend = made["host"].astype(str).map(host_backend).to_numpy(object)
    for names, column in ((told["tiers"], tier), (told["backends"], backend)):
        for name, its in names.items():
            here = np.ones(len(made), bool) if name == EVERY and column is tier else column == name
            if its["p95_s"] is not None:
                low, high = p95_interval(seconds[here], block[here], sample, confidence)
                its["p95_s_low"], its["p95_s_high"] = low, high


def p95_interval(
    seconds: Floats, block: np.ndarray[Any, Any], sample: Sample, confidence: float
) -> tuple[float, float]:
    """Low and high of the 95th percentile of `seconds` of creates that succeed, by `block` of the history.

    The share of creates that take longer than T has a bootstrap interval. The ends are the first and the last
    T at which this interval allows for 5 % (Woodruff, JASA 47, 1952): the upper end is the bound that a plan
    with that share keeps.
    """
    made = np.bincount(block, minlength=sample.units).astype(float)
    ordered = np.unique(seconds)

    def beyond(t: float, sign: int) -> bool:
        slow = np.bincount(block[seconds > t], minlength=sample.units).astype(float)
        share = sample.ratio(0.05 * made - slow, made)
        spread = sign * sample.factor(confidence) * float(np.linalg.norm(share.deviations))
        return float(share.point) - 0.05 / len(seconds) + spread >= 0

    def first(sign: int) -> float:
        low, high = 0, len(ordered) - 1  # no create takes longer than the last
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if beyond(float(ordered[middle]), sign) else (middle + 1, high)
        return float(ordered[low])

    # Numpy's percentile lies between two creates, and these ends are creates.
    return min(first(1), float(np.percentile(seconds, 95))), first(-1)
