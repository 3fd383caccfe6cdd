"""Confidence intervals from replications or from blocks of one history; and the length of a warm-up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.workload.streams import Streams

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
DAY_S = 86_400.0
FEW = 10  # blocks of a history of fewer days than this
CONFIDENCE = 0.95
FEWEST = 6  # paired differences that are not 0; with 5, no sign test rejects at 5 %: 2 * 0.5**5 > 0.05
BATCH = 5  # of MSER-5


@dataclass(frozen=True)
class Blocks:
    """Blocks of a history from `start_s` on, each `length_s` long. The last one includes everything later."""

    start_s: float
    length_s: float
    count: int

    @classmethod
    def between(cls, start_s: float, last_s: float) -> Blocks:
        """Blocks of a day if there are ten days or more (rounded), else ten blocks."""
        span = max(last_s - start_s, 0.0)
        if span >= FEW * DAY_S:
            return cls(start_s, DAY_S, round(span / DAY_S))
        return cls(start_s, span / FEW, FEW)

    def starts(self) -> Floats:
        """When each block starts, in seconds."""
        return self.start_s + self.length_s * np.arange(self.count, dtype=np.float64)

    def of(self, time: Floats) -> Ints:
        """The block of each time; no time is before the start."""
        return np.searchsorted(self.starts(), time, side="right").astype(np.int64) - 1


@dataclass(frozen=True)
class Estimate:
    """Values (...,) and deviations (..., U). The norm of the deviations is the value's standard error.

    Both are linear in the data, and the units of one `Sample` are the same. So the sum or the difference of
    two estimates is an estimate, too: a paired one.
    """

    point: Floats
    deviations: Floats

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.point + other.point, self.deviations + other.deviations)

    def __sub__(self, other: Estimate) -> Estimate:
        return Estimate(self.point - other.point, self.deviations - other.deviations)


@dataclass(frozen=True)
class Interval:
    """A value and its confidence interval, which is NaN if the units do not determine it."""

    mean: float
    low: float
    high: float


class Sample:
    """Units that are alike and independent: replications, or two or more blocks of one history.

    For replications, the standard error is that of their mean; a replication without a value (NaN, a share of
    nothing) is left out, and a single one has no interval: its ends are NaN. For blocks, it is the standard
    deviation of resampled histories. These come from the bootstrap over blocks that do not overlap (Carlstein
    1986), times sqrt(n / (n - 1)), which gives the usual standard error of a mean.
    """

    def __init__(
        self, kind: Literal["replications", "blocks"], units: int, draws: Floats | None = None
    ) -> None:
        if units < (2 if kind == "blocks" else 1):
            raise ValueError(f"{units} {kind} are too few")
        self.kind, self.units, self.df = kind, units, units - 1
        self._draws = draws  # (units, draws): how often each block is in each resampled history

    @classmethod
    def of_replications(cls, n: int) -> Sample:
        return cls("replications", n)

    @classmethod
    def of_blocks(cls, n: int, draws: int = 1000, seed: int = 0) -> Sample:
        stream = Streams(seed, 0)("bootstrap")
        drawn = stream.multinomial(n, np.full(n, 1 / n), size=draws) if n else np.zeros((draws, 0))
        return cls("blocks", n, drawn.T.astype(np.float64))

    def mean(self, values: npt.ArrayLike) -> Estimate:
        """Estimate the mean of values (..., units)."""
        values = np.asarray(values, np.float64)
        if self._draws is None:
            return _over_replications(values)
        return self._resampled(values.mean(axis=-1), values @ self._draws / self.units)

    def certain(self, values: npt.ArrayLike) -> Estimate:
        """Estimate values (...,) that are exact: without deviations."""
        return self.mean(np.repeat(np.asarray(values, np.float64)[..., None], self.units, axis=-1))

    def total(self, values: npt.ArrayLike) -> Estimate:
        """Estimate the total of a history from counts (..., units): the mean of replications, or the sum of
        blocks."""
        values = np.asarray(values, np.float64)
        if self._draws is None:
            return _over_replications(values)
        return self._resampled(values.sum(axis=-1), values @ self._draws)

    def ratio(self, part: npt.ArrayLike, whole: npt.ArrayLike) -> Estimate:
        """Estimate a share of a history from counts (..., units).

        It is the mean of the shares of replications, or the share of the summed blocks. `whole` is (units,)
        or has the shape of `part`. A resampled history whose whole is 0 counts as the history itself.
        """
        part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
        if self._draws is None:
            return _over_replications(_shares(part, whole, np.nan))
        point = _shares(part.sum(axis=-1), whole.sum(axis=-1), np.nan)
        return self._resampled(point, _shares(part @ self._draws, whole @ self._draws, point[..., None]))

    def percentile(self, values: Floats, unit: Ints, percent: float) -> Estimate:
        """Estimate a percentile of the values (n,) of one history, by the block (n,) that each is in."""
        if self._draws is None:
            raise ValueError("replications have a percentile each: take their mean")
        order = np.argsort(values, kind="stable")
        ordered, block = values[order], unit[order]
        drawn = np.empty(self._draws.shape[1])
        for number, often in enumerate(self._draws.T):
            total = np.cumsum(often[block])
            at = int(np.searchsorted(total, percent / 100 * total[-1])) if total[-1] else len(total) - 1
            drawn[number] = ordered[min(at, len(ordered) - 1)]
        return self._resampled(np.asarray(np.percentile(values, percent), np.float64), drawn)

    def _resampled(self, point: Floats, drawn: Floats) -> Estimate:
        """Deviations whose norm is the standard deviation of the drawn values (..., draws), corrected."""
        scale = np.sqrt(self.units / self.df / (drawn.shape[-1] - 1))
        return Estimate(point, (drawn - drawn.mean(axis=-1, keepdims=True)) * scale)

    def factor(self, confidence: float) -> float:
        """Half an interval's width in standard errors: a quantile of Student's t; 0 for confidence 0."""
        from scipy import special  # slow to import, and a single run has no intervals

        return float(special.stdtrit(self.df, (1 + confidence) / 2)) if confidence else 0.0

    def half_widths(self, estimate: Estimate, confidence: float = CONFIDENCE) -> Floats:
        """Half the widths (...,) of the intervals of an estimate."""
        halves: Floats = self.factor(confidence) * np.linalg.norm(estimate.deviations, axis=-1)
        return halves

    def interval(self, estimate: Estimate, confidence: float = CONFIDENCE) -> Interval:
        """The interval of a single estimate (its point has no axes)."""
        point, half = float(estimate.point), float(self.half_widths(estimate, confidence))
        return Interval(point, point - half, point + half)

    def p_value(self, estimate: Estimate) -> float:
        """How likely so large a single estimate is if the truth is 0 (Student's t, two-sided); NaN: 1."""
        from scipy import special

        point, error = float(estimate.point), float(np.linalg.norm(estimate.deviations))
        if math.isnan(point) or math.isnan(error) or not point:
            return 1.0
        return 2.0 * float(special.stdtr(self.df, -abs(point) / error)) if error else 0.0


def holm(p_values: Sequence[float], level: float = 1 - CONFIDENCE) -> list[bool]:
    """Which of several hypotheses Holm's procedure (1979) rejects; a true one with a chance of `level`."""
    order = np.argsort(p_values, kind="stable")
    found = [False] * len(p_values)
    for left, number in zip(range(len(p_values), 0, -1), order.tolist(), strict=True):
        if p_values[number] > level / left:
            break
        found[number] = True
    return found


def _over_replications(values: Floats) -> Estimate:
    told = ~np.isnan(values)
    count = told.sum(axis=-1, keepdims=True)
    sums = np.where(told, values, 0).sum(axis=-1, keepdims=True)
    point = _shares(sums, count, np.nan)
    scale = np.where(count > 1, np.sqrt(np.maximum(count * (count - 1), 1)), np.nan)
    return Estimate(point[..., 0], np.where(told, values - point, 0) / scale)


def _shares(part: Floats, whole: npt.NDArray[np.number], otherwise: Floats | float) -> Floats:
    """part / whole, and `otherwise` where the whole is 0."""
    shape = np.broadcast_shapes(part.shape, whole.shape)
    some = np.broadcast_to(whole != 0, shape)
    shares: Floats = np.broadcast_to(otherwise, shape).astype(np.float64)
    np.divide(part, whole, out=shares, where=some)
    return shares


def mser5(values: npt.ArrayLike) -> int:
    """The number of first values to leave out as a warm-up: MSER-5 (White 1997; Franklin & White 2008).

    It cuts between batches of five values, up to half of the batches. It takes the cut after which the mean
    has the least standard error, as if batches were independent; among equal cuts, the shortest. Values after
    the last whole batch do not count.
    """
    values = np.asarray(values, np.float64)
    batches = values[: len(values) // BATCH * BATCH].reshape(-1, BATCH).mean(axis=1)
    # The last m batches, for every m; pandas computes their variance without cancellation of sums.
    variances = pd.Series(batches[::-1]).expanding().var(ddof=0).to_numpy()
    errors = (variances / np.arange(1, len(batches) + 1))[::-1]
    return BATCH * int(np.argmin(errors[: len(batches) // 2 + 1])) if len(batches) else 0
