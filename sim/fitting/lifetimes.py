"""Lifetimes of volumes from a trace: lognormal, with a share never deleted, censored at its end."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from sim.fitting.estimates import BEYOND, Estimate, Floats, maximum
from sim.fitting.fitted import Fit, Fitted

LEAST = 10  # deletes needed for a fit
GRAIN = 0.01  # of the logarithm of a lifetime: closer lifetimes count as equal
TOLD = 1.92  # half of chi-square's 95 % point
SHORTEST = 1e-3  # seconds
LEAST_LOG, MOST_LOG = math.log(0.01), math.log(5.0)  # of sigma


def lifetimes(events: pd.DataFrame, creates: pd.DataFrame, until: float, out: Fit) -> list[Fitted]:
    """Median, sigma and the share kept, from the creates whose volume has at most one delete."""
    gone = events[events["event"] == "delete"].drop_duplicates("volume_id").set_index("volume_id")["time"]
    time = creates["time"].to_numpy()
    end = gone.reindex(creates["volume_id"]).to_numpy(dtype=float)
    ended = np.isfinite(end) & (end >= time)
    if ended.sum() < LEAST:
        out.assumed("lifetime_s.median", f"{int(ended.sum())} deletes")
        out.assumed("lifetime_s.sigma", f"{int(ended.sum())} deletes")
        kept = float(1 - ended.mean())
        out.plain("kept_share", round(kept, 4), "those not deleted in the trace", assumed=True)
        return []
    lived = np.maximum(np.where(ended, end, until) - time, SHORTEST)
    loss = _loss(lived, ended)
    middle = np.log(lived[ended])
    start = np.array([float(np.median(middle)), math.log(max(float(middle.std()), 0.1)), -2.0])
    whole = maximum(lambda at: loss(np.append(at, -40.0)), start[:2])
    top = maximum(loss, start)
    if top.loss > whole.loss - 1e-6:  # no volume is kept forever
        top = whole._replace(at=np.append(whole.at, -40.0), covariance=np.pad(whole.covariance, (0, 1)))
    told = f"{int(ended.sum()):,} deletes, KS distance {_apart(lived, ended, top.at):.3f}"
    return [
        Fitted("lifetime_s.median", top.estimate(0, np.exp, told)),
        Fitted("lifetime_s.sigma", top.estimate(1, np.exp)),
        Fitted("kept_share", _kept(loss, top.at, top.loss, whole.loss)),
    ]


def _loss(lived: Floats, ended: np.ndarray) -> Callable[[Floats], float]:
    """The negative log-likelihood of mean and log sigma of the logarithm, and the logit of the share kept."""
    at, counts = np.unique(np.round(np.log(lived[ended]) / GRAIN), return_counts=True)
    died, deaths = at * GRAIN, counts
    at, counts = np.unique(np.round(np.log(lived[~ended]) / GRAIN), return_counts=True)
    alive, lives = at * GRAIN, counts

    def loss(at: Floats) -> float:
        if not LEAST_LOG <= at[1] <= MOST_LOG:
            return BEYOND
        sigma, mortal, kept = math.exp(at[1]), special.log_expit(-at[2]), special.log_expit(at[2])
        density = deaths @ (-(((died - at[0]) / sigma) ** 2) / 2 - at[1] + mortal)
        beyond = special.log_ndtr((at[0] - alive) / sigma) + mortal
        return -float(density + lives @ np.logaddexp(beyond, kept))

    return loss


def _kept(loss: Callable[[Floats], float], at: Floats, least: float, without: float) -> Estimate:
    """The share kept and its interval by the profile of the likelihood."""

    def above(logit: float) -> float:
        return maximum(lambda rest: loss(np.append(rest, logit)), at[:2]).loss - least - TOLD

    high, step = float(at[2]) if at[2] > -15 else -15.0, 0.5
    while above(high + step) < 0 and high + step < 15:
        step *= 2
    top = high + step
    if above(high) < 0 < above(top):
        top = optimize.brentq(above, high, top, xtol=1e-3)
    bottom = -math.inf
    if without - least > TOLD:
        step = 0.5
        while above(at[2] - step) < 0:
            step *= 2
        bottom = optimize.brentq(above, at[2] - step, at[2], xtol=1e-3)
    value, low, up = (float(special.expit(logit)) for logit in (at[2], bottom, top))
    return Estimate(value, low, up)


def _apart(lived: Floats, ended: np.ndarray, at: Floats) -> float:
    """The largest distance from the law to the estimate of Kaplan and Meier (1958)."""
    seen = stats.ecdf(stats.CensoredData.right_censored(lived, ~ended)).sf
    kept, law = special.expit(at[2]), special.ndtr((at[0] - np.log(seen.quantiles)) / math.exp(at[1]))
    return float(np.abs(seen.probabilities - (kept + (1 - kept) * law)).max())
