"""Figures of two results: their intervals, and whether they differ by more than chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sim.analysis.comparison import in_blocks
from sim.analysis.metrics import of_tier
from sim.analysis.statistics import Blocks, Estimate, Sample
from sim.model.usage import ALL

FAILED = "failed"  # creates that failed, from an image or not
ASKED = ("volume_id", "image_id", "volume_type", "size_gib", "time")
MOST_RANKED = 300_000  # creates of a history whose percentiles are resampled: more take minutes


@dataclass(frozen=True)
class Value:
    """A figure, and the ends of its 95 % interval (NaN without one)."""

    mean: float
    low: float = math.nan
    high: float = math.nan

    @property
    def sure(self) -> bool:
        """Whether it is a difference that is more than chance."""
        return self.low > 0 or self.high < 0

    @property
    def bounded(self) -> bool:
        """Whether it has an interval."""
        return not (math.isnan(self.low) or math.isnan(self.high))


Values = Mapping[str, Mapping[str, Value]]  # by tier (and ALL) and measure
Estimates = Mapping[str, Mapping[str, Estimate]]


@dataclass(frozen=True)
class History:
    """What a run's intervals come from: its creates, or its summaries in several replications.

    `requests`, `others`: tables of a run (`sim.model.records.Records`); of replications, of the first.
    `each`: rows of `sim.analysis.metrics.summary` of one strategy with their `replication`; None of one
    history. `seed`: of the bootstrap.
    """

    requests: pd.DataFrame
    others: pd.DataFrame
    tiers: tuple[str, ...]
    warm_up_s: float = 0.0
    seed: int = 0
    each: pd.DataFrame | None = None

    @property
    def blocks(self) -> Blocks:
        """The blocks of the history, as `compare` makes them."""
        last_s = max((float(of["time"].max()) for of in (self.requests, self.others) if len(of)), default=0.0)
        return Blocks.between(self.warm_up_s, last_s)

    @property
    def sample(self) -> Sample:
        """The units that intervals come from."""
        if self.each is not None:
            return Sample.of_replications(int(self.each["replication"].nunique()))
        return Sample.of_blocks(self.blocks.count, seed=self.seed)


def alike(one: History, other: History) -> bool:
    """Whether both are of the same creates, so that their differences can be paired."""
    if not _equal(one.requests[list(ASKED)], other.requests[list(ASKED)]):
        return False
    if one.each is None or other.each is None:
        return one.each is other.each and one.warm_up_s == other.warm_up_s
    drawn = ["replication", "tier", "creates"]
    return _equal(one.each[drawn], other.each[drawn])


def _equal(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(one[name].to_numpy(), other[name].to_numpy()) for name in one
    )


def intervals_of(history: History) -> Values:
    """The measures of a run that have intervals."""
    sample = history.sample
    return _told(sample, estimates(history, sample))


def paired(one: History, other: History) -> Values:
    """The other's figures less those of the one, for runs of the same creates (`alike`)."""
    sample = one.sample
    old, new = estimates(one, sample), estimates(other, sample)
    return _told(
        sample,
        {
            tier: {name: of[name] - old[tier][name] for name in of if name in old[tier]}
            for tier, of in new.items()
            if tier in old
        },
    )


def unpaired(one: Value, other: Value) -> Value:
    """The other less the one, as if nothing connected them: from both intervals (Zou & Donner 2008)."""
    mean = other.mean - one.mean
    down = math.hypot(other.mean - other.low, one.high - one.mean)
    up = math.hypot(other.high - other.mean, one.mean - one.low)
    return Value(mean, mean - down, mean + up)


def estimates(history: History, sample: Sample) -> Estimates:
    """Estimates by tier (and ALL) and measure, in the units of `sample`."""
    if history.each is not None:
        return _of_replications(history.each, sample)
    return _of_blocks(history, sample)


def _of_replications(each: pd.DataFrame, sample: Sample) -> Estimates:
    found = {}
    for tier, rows in each.sort_values("replication", kind="stable").groupby("tier", sort=False):
        values = rows.drop(columns=["tier", "strategy", "replication"])
        values = values.assign(**{FAILED: values["errors"] + values["other_errors"]})
        found[str(tier)] = {str(name): sample.mean(values[name].to_numpy(float)) for name in values}
    return found


def _of_blocks(history: History, sample: Sample) -> Estimates:
    """Hits, mean seconds, their 95th percentile and failed creates of one history."""
    blocks = history.blocks
    requests, others = (of[of["time"] >= history.warm_up_s] for of in (history.requests, history.others))
    if requests.empty:
        return {}
    counts = in_blocks(requests, history.tiers, "", blocks).set_index("tier")
    found = {}
    for tier in (*history.tiers, ALL):
        own, mine = counts.loc[[tier]], of_tier(requests, tier)
        if mine.empty:
            continue
        lost = of_tier(others, tier)
        times = lost.loc[lost["status"] == "error", "time"].to_numpy(float)
        failed = (own["creates"] - own["made"]).to_numpy(float)
        failed = failed + np.bincount(blocks.of(times), minlength=blocks.count)
        found[tier] = {
            "clone_hit_rate": sample.ratio(own["clones"], own["creates"]),
            "create_s_mean": sample.ratio(own["seconds"], own["made"]),
            FAILED: sample.total(failed),
        }
        made = mine[mine["status"] == "available"]
        if 0 < len(made) <= MOST_RANKED:
            seconds = (made["end"] - made["time"]).to_numpy(float)
            unit = blocks.of(made["time"].to_numpy(float))
            found[tier]["create_s_p95"] = sample.percentile(seconds, unit, 95)
    return found


def _told(sample: Sample, of: Estimates) -> Values:
    found: dict[str, dict[str, Value]] = {}
    for tier, its in of.items():
        for name, estimate in its.items():
            told = sample.interval(estimate)
            found.setdefault(tier, {})[name] = Value(told.mean, told.low, told.high)
    return found
