"""Intervals of measured means, for theory to lie in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, float) and self.low <= value <= self.high


def interval(replications: Sequence[float], intervals: int = 1) -> Interval:
    """Student's t interval of the mean of independent replications.

    95 % for all of `intervals` at once (Bonferroni), if a test looks at so many.
    """
    mean, error = np.mean(replications), stats.sem(replications)
    half = error * stats.t.ppf(1 - 0.05 / (2 * intervals), len(replications) - 1)
    return Interval(float(mean - half), float(mean + half))
