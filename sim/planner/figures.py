"""The figures of one point with their intervals: by tier, by backend and in all."""

from __future__ import annotations

from collections.abc import Sequence
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
    (tiers,) = figures_of_tiers([runs], scenario, sample, confidence)
    backends = {}
    for name in scenario.backends:
        of = backend_of(scenario, name, [runs])
        (backends[name],) = _figures(of, ALL, scenario, sample, confidence)
        backends[name]["volumes_peak"] = int(of.volumes_peak()[0])
    return {"tiers": tiers, "backends": backends}


def figures_of_tiers(
    points: Sequence[Runs], scenario: Scenario, sample: Sample, confidence: float
) -> list[dict[str, Figures]]:
    """For each point, the figures of each tier and of all (see `figures`)."""
    tiers = tiers_of(scenario, points)
    told = {tier or EVERY: _figures(of, tier, scenario, sample, confidence) for tier, of in tiers.items()}
    prices = [sample.mean(tiers[tier].prices(scenario)) for tier in scenario.tiers]
    price = _told("price_month", sum(prices[1:], start=prices[0]), sample, confidence)
    for its, of_all in zip(told[EVERY], price, strict=True):
        its |= of_all
    return [{name: of[number] for name, of in told.items()} for number in range(len(points))]


def _figures(of: Measured, tier: str, scenario: Scenario, sample: Sample, confidence: float) -> list[Figures]:
    """The figures of each candidate."""
    creates, p95 = of.units("creates", tier)[0], of.values("create_s_p95")
    estimates = {
        "hit_rate": sample.ratio(of.units("clones", tier), creates) if creates.sum() else None,
        "p95_s": sample.mean(p95) if p95.shape[1] > 1 else None,
        "errors": sample.total(of.failures(tier)),
        "other_errors": sample.total(of.units("other_errors", tier)),
        "space_gib_mean": sample.mean(of.levels("image_provisioned_gib")),
        "price_month": sample.mean(of.prices(scenario)),
    }
    found: list[Figures] = [{"creates": each} for each in of.mean("creates").tolist()]
    for name, estimate in estimates.items():
        for its, told in zip(found, _told(name, estimate, sample, confidence, len(of)), strict=True):
            its |= told
    for its, values in zip(found, p95, strict=True):
        known = values[~np.isnan(values)]  # of replications in which a create succeeded
        if len(known) < len(values):
            its |= dict.fromkeys(("p95_s", "p95_s_low", "p95_s_high"))
        if len(known):
            its["p95_s"] = float(known.mean())
    for name, peaks in (("space_gib_peak", "image_provisioned_gib_peak"), ("image_volumes_peak",) * 2):
        kind = float if name == "space_gib_peak" else int
        for its, peak in zip(found, of.peak(peaks).tolist(), strict=True):
            its[name] = kind(peak)
    return found


def _told(
    name: str, estimate: Estimate | None, sample: Sample, confidence: float, count: int = 1
) -> list[Figures]:
    """The estimate of each candidate as three figures, cut off at values that cannot occur."""
    if estimate is None:
        return [dict.fromkeys((name, f"{name}_low", f"{name}_high")) for _ in range(count)]
    found = []
    for point, deviations in zip(estimate.point, estimate.deviations, strict=True):
        interval = sample.interval(Estimate(point, deviations), confidence)
        high = min(interval.high, 1.0) if name == "hit_rate" else interval.high
        found.append({name: interval.mean, f"{name}_low": max(interval.low, 0.0), f"{name}_high": high})
    return found


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
