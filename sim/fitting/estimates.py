"""Estimates with 95 % intervals, for fits: shares, rates, lognormal laws, Zipf's law."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

Floats = npt.NDArray[np.float64]
BEYOND = 1e18
Z = float(stats.norm.ppf(0.975))
# Zipf's law is inverted on a grid of exponents; its noise is drawn, always the same.
EXPONENTS = np.linspace(0, 5, 501)
DRAWS = 200


class Estimate(NamedTuple):
    """A value, its 95 % interval, and how good the fit is in words ('' if the interval is enough)."""

    value: float
    low: float
    high: float
    goodness: str = ""


class Maximum(NamedTuple):
    """The maximum of a likelihood (P,), the covariance (P, P) there, and the negative log-likelihood."""

    at: Floats
    covariance: npt.NDArray[Any]
    loss: float

    def estimate(self, number: int, back: Callable[[Any], Any], goodness: str = "") -> Estimate:
        """The estimate of one parameter. `back` (increasing) maps from the fitted scale to its own."""
        half = Z * math.sqrt(max(self.covariance[number, number], 0.0))
        with np.errstate(over="ignore"):
            value, low, high = (float(back(self.at[number] + by)) for by in (0.0, -half, half))
        return Estimate(value, low, high, goodness)


def maximum(loss: Callable[[Floats], float], start: Floats) -> Maximum:
    """The maximum of a likelihood, from its negative logarithm, with the inverse of the observed information.

    `loss` must be BEYOND or more outside the allowed region.
    """
    found = optimize.minimize(
        loss, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-4, "maxiter": 4000}
    )
    at = np.asarray(found.x, dtype=float)
    step = 1e-3 * np.maximum(1.0, np.abs(at))
    size = len(at)
    hessian = np.empty((size, size))
    for row in range(size):
        for column in range(row + 1):
            one, two = np.zeros(size), np.zeros(size)
            one[row], two[column] = step[row], step[column]
            corners = (
                loss(at + one + two) - loss(at + one - two) - loss(at - one + two) + loss(at - one - two)
            )
            hessian[row, column] = hessian[column, row] = corners / (4 * step[row] * step[column])
    if not (np.abs(hessian) < BEYOND).all():  # at the edge of the search region the error is unknown
        return Maximum(at, np.full((size, size), np.inf), float(found.fun))
    return Maximum(at, np.asarray(np.linalg.pinv(hessian, hermitian=True)), float(found.fun))


def share(part: float, count: float) -> Estimate:
    """Wilson's interval (Probable inference, the law of succession, 1927) of a share of `count` cases."""
    if count <= 0:
        return Estimate(part, 0.0, 1.0)
    centre = (part + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * math.sqrt(part * (1 - part) / count + Z**2 / (4 * count**2))
    return Estimate(part, max(0.0, min(part, centre - half)), min(1.0, max(part, centre + half)))


def grouped_share(hits: Floats, cases: Floats) -> Estimate:
    """A share of cases that come in groups (G,), alike within a group: the interval counts groups."""
    part = float(hits.sum() / cases.sum())
    spread = float(((hits - part * cases) ** 2).sum() / cases.sum() ** 2)
    least = cases.sum() ** 2 / (cases**2).sum()  # effective number, if groups are all or nothing
    return share(part, part * (1 - part) / spread if spread > 0 else least)


def rate(count: int, exposure: float) -> Estimate:
    """Garwood's exact interval of a Poisson rate (Fiducial limits for the Poisson distribution, 1936)."""
    low = stats.chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    return Estimate(
        count / exposure, float(low / exposure), float(stats.chi2.ppf(0.975, 2 * count + 2) / 2 / exposure)
    )


def scaled(value: float, count: float, dispersion: float = 1.0) -> Estimate:
    """A value in proportion to a count whose variance is `dispersion` times its mean (on a log scale)."""
    half = Z * math.sqrt(dispersion / count) if count > 0 else math.inf
    return Estimate(value, value * math.exp(-half), value * math.exp(half) if half < 700 else math.inf)


def zipf(counts: Floats, effective: float, error: float = 0.0) -> Estimate:
    """The exponent of Zipf's law over as many ranks as there are counts (N,), by maximum likelihood.

    Only the ranks seen are used, which makes the law look steeper than it is. Draws of `effective`
    independent cases give the correction and the interval. `error` is a lower bound of the standard error.
    """
    ranks = len(counts)
    if ranks < 2 or effective <= 0:
        return Estimate(0.0, 0.0, math.inf, "one rank is not enough")
    logs = np.log(np.arange(1, ranks + 1))
    laws = np.exp(-np.outer(EXPONENTS, logs))
    laws /= laws.sum(axis=1, keepdims=True)
    means = laws @ logs

    def steepness(seen: Floats) -> Floats:
        ordered = -np.sort(-seen, axis=-1)
        return np.asarray(np.interp(-(ordered @ logs) / ordered.sum(axis=-1), -means, EXPONENTS))

    raw = float(steepness(np.asarray(counts, dtype=float)))
    draws = np.random.default_rng(0)
    value = raw
    for _ in range(4):
        law = np.arange(1, ranks + 1) ** -value
        drawn = steepness(draws.multinomial(max(1, round(effective)), law / law.sum(), DRAWS).astype(float))
        value = max(0.0, value + raw - float(drawn.mean()))
    half = Z * max(float(drawn.std(ddof=1)), error)
    ordered = np.cumsum(-np.sort(-counts)) / counts.sum()
    law = np.arange(1, ranks + 1) ** -value
    apart = float(np.abs(ordered - np.cumsum(law) / law.sum()).max())
    return Estimate(value, max(0.0, value - half), value + half, f"{ranks} ranks, KS distance {apart:.3f}")


def log_between(low: Floats, high: Floats) -> Floats:
    """The logarithm of the normal probability between two values (low < high), exact in both tails."""
    flip = low > 0
    left, right = np.where(flip, -high, low), np.where(flip, -low, high)
    upper, lower = special.log_ndtr(right), special.log_ndtr(left)
    return np.asarray(upper + np.log1p(-np.exp(np.minimum(lower - upper, -1e-300))))


def rounded_lognormal(sizes: npt.NDArray[np.int64]) -> tuple[Estimate, Estimate]:
    """Median and sigma of X by maximum likelihood; observed are max(2, ceil(X)) (N,)."""
    values, counts = np.unique(sizes, return_counts=True)
    with np.errstate(divide="ignore"):
        lows, highs = np.where(values == 2, -np.inf, np.log(values - 1.0)), np.log(values.astype(float))

    def loss(at: Floats) -> float:
        if not (math.log(1e-3) <= at[0] and math.log(0.01) <= at[1] <= math.log(3.0)):
            return BEYOND
        sigma = math.exp(at[1])
        return -float(counts @ log_between((lows - at[0]) / sigma, (highs - at[0]) / sigma))

    top = maximum(loss, np.array([math.log(2.0), 0.0]))
    seen = np.cumsum(counts) / counts.sum()
    apart = np.abs(seen - special.ndtr((highs - top.at[0]) / math.exp(top.at[1]))).max()
    told = f"{len(sizes):,} storms, KS distance {apart:.3f}"
    return top.estimate(0, np.exp, told), top.estimate(1, np.exp)
