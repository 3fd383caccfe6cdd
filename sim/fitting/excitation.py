"""Requests that cause others for the same image: the self-exciting process, by maximum likelihood.

The intensity of requests of line i at instant t is rate * p(i) + the sum over its earlier requests of share *
g(t - earlier), with g a lognormal density `offset` seconds off. p is Zipf's law over the lines, ordered by
their new requests. The likelihood is that of Y. Ogata (Statistical models for earthquake occurrences and
residual analysis for point processes, 1988), which may use a first part of the data as history only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from sim.fitting.estimates import BEYOND, Estimate, Floats, Maximum, maximum, zipf
from sim.inputs.generator import DAY, Generate, Repeats, Storms
from sim.workload.generate import arrivals
from sim.workload.streams import Streams

Whole = npt.NDArray[np.int64]
HISTORY = 0.2  # of the trace
STEP = 1.5  # ratio of neighbouring edges of delays
ROUNDS = 4  # of ranking by new requests, then maximising the likelihood
LEAST = 50  # requests needed for a fit
TOLD = 1.92  # by this much a parameter must lower the loss to count (half of chi-square's 95 % point)
DRAWN = 200_000  # requests to draw in all for the correction of a fit
# Start of a search and its bounds (but the rate has none): log rate, logit share, log median, log sigma,
# exponent.
START = np.array([0.0, 0.0, math.log(3600.0), math.log(2.0), 1.0])
LOWEST = np.array([-7.0, math.log(1.0), math.log(0.05), 0.0])
HIGHEST = np.array([2.9, math.log(1e8), math.log(3.0), 5.0])


class Excitation(NamedTuple):
    """The process. `begun` (N,): the estimated number of requests of each line that began something new.

    The delays are None if too few requests follow others.
    """

    share: Estimate
    after_median_s: Estimate | None
    after_sigma: Estimate | None
    zipf: Estimate
    begun: Floats


def excitation(time: Floats, line: Whole, blank: int, until: float, offset: float) -> Excitation | None:
    """The process of requests (R,), sorted by time, each of a line 0..N-1; None if there are too few.

    Times are seconds on a scale with an even rate. `blank` is the line that stands for no image, or -1. Ranks
    also fit noise, so too many requests look new. Processes drawn from the fit give the correction.
    """
    if len(time) < LEAST:
        return None
    likelihood = _Likelihood(time, line, blank, until, offset)
    top = likelihood.fit()
    if likelihood.alone(top.at) - top.loss < TOLD:
        return _nothing_follows(likelihood, top.at)
    draws = int(np.clip(DRAWN // len(time), 2, 12))
    off = [fit.at - top.at for fit in _refits(likelihood, top.at, draws)]
    covariance = top.covariance * (1 + 1 / draws)
    top = Maximum(_bounded(top.at - np.mean(off, axis=0)), covariance, top.loss)
    begun = likelihood.begun(top.at)
    return Excitation(
        top.estimate(1, special.expit, f"{len(likelihood.line):,} requests"),
        top.estimate(2, np.exp),
        top.estimate(3, np.exp),
        _zipf(likelihood, begun, math.sqrt(max(float(covariance[4, 4]), 0.0))),
        begun,
    )


def _zipf(likelihood: _Likelihood, begun: Floats, error: float) -> Estimate:
    images = np.delete(begun, likelihood.blank) if likelihood.blank >= 0 else begun
    return zipf(images, float(images.sum()), error)


def _nothing_follows(likelihood: _Likelihood, at: Floats) -> Excitation:
    """The result if no request seems to follow another; the bound assumes delays as at START."""
    at = np.concatenate([at[:1], LOWEST[:1], START[2:4], at[4:]])
    least, high = likelihood.alone(at), 0.0
    for high in np.arange(0.01, 0.95, 0.01):
        logs = [math.log(len(likelihood.line) / likelihood.length * (1 - high)), special.logit(high)]
        if likelihood.loss(np.concatenate([logs, at[2:]])) - least > TOLD:
            break
    begun = likelihood.begun(at)
    none = Estimate(0.0, 0.0, float(high), f"{len(likelihood.line):,} requests")
    return Excitation(none, None, None, _zipf(likelihood, begun, 0.0), begun)


def _bounded(at: Floats) -> Floats:
    return np.concatenate([at[:1], np.clip(at[1:], LOWEST, HIGHEST)])


def _refits(likelihood: _Likelihood, at: Floats, draws: int) -> Iterator[Maximum]:
    """Fits of processes drawn from a fit, of the same length and with the same lines."""
    share, until = float(special.expit(at[1])), likelihood.until
    spec = Generate(
        duration=f"{until:.6f}s",  # type: ignore[arg-type]
        creates_per_day=math.exp(at[0]) * DAY / (1 - share),
        storms=Storms(share=0.0, spread_s=likelihood.offset),
        repeats=Repeats(share=share, after_median_s=math.exp(at[2]), after_sigma=math.exp(at[3])),
    )
    law = likelihood.law(at)
    for draw in range(draws):
        streams = Streams(0, draw)
        requests = arrivals(spec, streams)
        line = streams("images").choice(len(law), requests.sessions, p=law / law.sum())[requests.session]
        yield _Likelihood(requests.time, line, likelihood.blank, until, likelihood.offset, len(law)).fit(at)


class _Likelihood:
    """The data of a likelihood, computed once: the number of earlier requests of the line by delay."""

    def __init__(
        self, time: Floats, line: Whole, blank: int, until: float, offset: float, lines: int = 0
    ) -> None:
        self.lines, self.blank = lines or int(line.max()) + 1, blank
        self.until, self.offset = until, offset
        since = HISTORY * until
        first = int(np.searchsorted(time, since))
        self.line, self.length = line[first:], until - since
        count = math.ceil(math.log(max(until, 100.0)) / math.log(STEP))
        self.edges = np.concatenate([[0.0], STEP ** np.arange(count + 1)])
        self.widths = np.diff(self.edges)
        # Requests as one ascending key: line, then time.
        key = np.sort(line * (2 * until) + time)
        ask, low = line[first:] * (2 * until) + time[first:], line[first:] * (2 * until)
        at = [np.searchsorted(key, np.maximum(ask - offset - edge, low), side="left") for edge in self.edges]
        self.before = np.stack([late - early for late, early in pairwise(at)], axis=1).astype(float)
        self.exposed = np.array(
            [
                (np.clip(until - offset - time, low, high) - np.clip(since - offset - time, low, high)).sum()
                / (high - low)
                for low, high in pairwise(self.edges)
            ]
        )

    def fit(self, at: Floats = START) -> Maximum:
        """The maximum of the likelihood: log rate, logit share, log median, log sigma, exponent."""
        begun = np.bincount(self.line, minlength=self.lines).astype(float)
        for _ in range(ROUNDS):
            self.rank(begun)
            at = np.array([math.log(len(self.line) / self.length * special.expit(-at[1])), *at[1:]])
            top = maximum(self.loss, at)
            at, begun = top.at, self.begun(top.at)
        return top

    def alone(self, at: Floats) -> float:
        """The loss if no request followed another."""
        rate = math.log(len(self.line) / self.length)
        return self.loss(np.concatenate([[rate], LOWEST[:1], at[2:]]))

    def rank(self, begun: Floats) -> None:
        """Order the lines by their new requests."""
        images = np.array([number for number in range(self.lines) if number != self.blank])
        order = images[np.argsort(-begun[images], kind="stable")]
        self.logs = np.zeros(self.lines)
        self.logs[order] = np.log(np.arange(1, len(order) + 1))
        self.blanks = begun[self.blank] / begun.sum() if self.blank >= 0 else 0.0

    def law(self, at: Floats) -> Floats:
        """The probability of each line for a new request."""
        weight = np.exp(-at[4] * self.logs)
        if self.blank >= 0:
            weight[self.blank] = 0.0
        weight *= (1 - self.blanks) / weight.sum()
        if self.blank >= 0:
            weight[self.blank] = self.blanks
        return np.asarray(weight)

    def _rates(self, at: Floats) -> tuple[Floats, Floats, Floats]:
        """Intensities at each request, of new and of following ones; and the following ones by delay."""
        weight = self.law(at)
        with np.errstate(divide="ignore"):
            reach = special.ndtr((np.log(self.edges) - at[2]) / math.exp(at[3]))
        many = float(special.expit(at[1])) * np.diff(reach)
        return math.exp(at[0]) * weight[self.line], self.before @ (many / self.widths), many

    def loss(self, at: Floats) -> float:
        """The negative logarithm of the likelihood."""
        if not (at[1:] >= LOWEST).all() or not (at[1:] <= HIGHEST).all():
            return BEYOND
        new, following, many = self._rates(at)
        with np.errstate(divide="ignore"):
            logs = np.log(np.maximum(new + following, 1e-300)).sum(dtype=np.float64)
        return float(math.exp(at[0]) * self.length + many @ self.exposed - logs)

    def begun(self, at: Floats) -> Floats:
        """How many requests of each line began new: the sum of their probabilities."""
        new, following, _ = self._rates(at)
        return np.bincount(self.line, new / (new + following), minlength=self.lines).astype(float)
