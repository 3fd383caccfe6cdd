"""Fits the parameters of a generated workload (`sim.inputs.generator`) to a trace, with intervals.

Creates of one image, each soon after the one before, are one request, and a storm if they are several. Soon
means: while such gaps are more frequent than longer ones, GAP_S at most. Hours and weekdays multiply;
requests are a self-exciting process (`sim.fitting.excitation`) on a time scale with an even rate. Versions of
a line are images with ids `line`, `line@2`, ... or, with an image list, those of one name and owner by their
first use.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from sim.fitting.estimates import (
    Estimate,
    Floats,
    Z,
    grouped_share,
    rate,
    rounded_lognormal,
    scaled,
    share,
    zipf,
)
from sim.fitting.excitation import Excitation, excitation
from sim.fitting.fitted import Fit, Fitted
from sim.fitting.lifetimes import lifetimes
from sim.fitting.releases import half_life, intervals, lines_of
from sim.inputs.generator import DAY, HOUR, LONGEST, WEEK
from sim.inputs.images import Image, read_images
from sim.inputs.problems import Problems
from sim.inputs.trace import Known, Trace, parse_trace

Whole = npt.NDArray[np.int64]
GAP_S = 10.0
SIZES = 40  # volume sizes kept; a rarer size counts as the next kept one
LEAST_STORMS = 10
LEAST_SESSIONS = 5  # of an image, before the fit counts it as used by one project alone


def fit(trace: str | os.PathLike[str], images: str | os.PathLike[str] | None = None) -> Fit:
    """See `sim.api.fit`."""
    problems = Problems()
    listed: dict[str, Image] = {}
    known = Known()
    if images is not None:
        listed, ids = read_images(Path(images), None, problems)
        known = Known(ids)
    parsed = parse_trace(Path(trace), known, problems)
    problems.raise_any()
    assert parsed is not None
    return fit_trace(parsed[1], listed)


def fit_trace(trace: Trace, listed: Mapping[str, Image] | None = None) -> Fit:
    """The fit of a trace in memory; `listed` are its images, if known."""
    return _Fitting(trace.events, trace.start, listed or {}).fit()


@dataclass
class _Requests:
    """Creates as requests (R): time, line, number of creates, seconds from the first to the last."""

    time: Floats
    line: Whole
    creates: Whole
    extent: Floats
    of_create: Whole


@dataclass
class _Fitting:
    """State of a fit to a trace. Lines are 0..N-1; `blank` is the line of no image, or -1."""

    events: pd.DataFrame
    start: datetime | None
    listed: Mapping[str, Image]
    out: Fit = field(default_factory=Fit)

    def fit(self) -> Fit:
        """All parameters, in the order of the spec."""
        events = self.events
        self.creates = events[events["event"] == "create"].reset_index(drop=True)
        last = float(events["time"].iloc[-1])
        self.until = max(last * (1 + 1 / len(events)), 1.0)
        self._duration()
        if not len(self.creates):
            self.out.note("the trace has no creates: all parameters are assumed")
            return self.out
        self.names, self.line, self.version = lines_of(self.creates["image_id"], self.listed)
        self.blank = int(self.names.index("") if "" in self.names else -1)
        self.gap_s = self._gap()
        self.requests = self._requests(self.gap_s)
        shape = self._hours()
        process = self._process(shape)
        self._rate(shape, process)
        self._storms()
        self._repeats(process)
        self._popularity(process)
        self._projects(process)
        self._volumes()
        self.out.add(*lifetimes(self.events, self.creates, self.until, self.out))
        self._shares(process)
        return self.out

    def _duration(self) -> None:
        unit, name = (DAY, "d") if self.until > DAY else (HOUR, "h")
        self.out.plain(
            "duration", f"{max(1, math.ceil(min(self.until, LONGEST) / unit - 0.01))}{name}", "the trace's"
        )

    def _gap(self) -> float:
        """The largest gap between creates of an image within one request.

        It is the shortest gap such that no longer one is much more frequent than gaps twice as long.
        """
        time = self.creates["time"].to_numpy()
        order = np.lexsort((time, self.line))
        gaps = np.sort(np.diff(time[order])[np.diff(self.line[order]) == 0])
        counts = np.bincount(self.line).astype(float)
        # If creates of an image come every few seconds anyway, only the shortest gaps are informative.
        found = min(GAP_S, 0.1 * self.until * counts.sum() / float((counts**2).sum()))
        for gap in np.geomspace(found, found / 100, 21):
            near, far = np.diff(np.searchsorted(gaps, [gap, 2 * gap, 3 * gap], side="right"))
            if near > 1.25 * far + 2 * math.sqrt(far + 1):
                break
            found = float(gap)
        return float(found)

    def _requests(self, gap_s: float) -> _Requests:
        time = self.creates["time"].to_numpy()
        order = np.lexsort((time, self.line))
        line, ordered = self.line[order], time[order]
        new = np.ones(len(order), dtype=bool)
        new[1:] = (np.diff(line) != 0) | (np.diff(ordered) > gap_s)
        begin = np.flatnonzero(new)
        end = np.append(begin[1:], len(order))
        by_time = np.argsort(ordered[begin], kind="stable")
        number = np.empty(len(begin), np.int64)
        number[by_time] = np.arange(len(begin))
        of_create = np.empty(len(order), np.int64)
        of_create[order] = number[np.cumsum(new) - 1]
        extent = ordered[end - 1] - ordered[begin]
        return _Requests(
            ordered[begin][by_time], line[begin][by_time], (end - begin)[by_time], extent[by_time], of_create
        )

    def _hours(self) -> Floats:
        """Weights of hours and weekdays; returns the rate in each hour of a week (168,), with mean 1."""
        begin = 0.0
        if self.start is not None:
            midnight = self.start.replace(hour=0, minute=0, second=0, microsecond=0)
            begin = self.start.weekday() * DAY + (self.start - midnight).total_seconds()
        else:
            self.out.note("the trace has no dates: its first day counts as a Monday")
        slots = ((self.requests.time + begin) // HOUR).astype(np.int64)
        first, last = int(begin // HOUR), math.ceil((begin + self.until) / HOUR)
        counts = np.bincount(slots - first, minlength=last - first)
        edges = np.clip(np.arange(first, last + 1) * HOUR, begin, begin + self.until)
        exposed, hour, day = (
            np.diff(edges) / HOUR,
            np.arange(first, last) % 24,
            np.arange(first, last) // 24 % 7,
        )
        weekly = self.until >= 2 * WEEK
        hours, days = np.ones(24), np.ones(7)
        if self.until >= DAY:
            for _ in range(30):
                hours = np.bincount(hour, counts, 24) / np.bincount(hour, exposed * days[day], 24)
                if weekly:
                    days = np.bincount(day, counts, 7) / np.bincount(day, exposed * hours[hour], 7)
            hours, days = hours / hours.mean(), days / days.mean()
        shape = np.outer(days, hours).ravel()
        mean = counts.sum() / (exposed * shape[day * 24 + hour]).sum()
        expected = np.maximum(mean * exposed * shape[day * 24 + hour], 1e-9)
        self._weights("by_hour", hours, counts, hour, expected, self.until >= DAY, "a day")
        by_day = np.arange(first, last) // 24
        self._weights("by_weekday", days, counts, day, expected, weekly, "two weeks", by_day - by_day[0])
        self.begin, self.shape = begin, shape
        return shape

    def _weights(
        self,
        name: str,
        weights: Floats,
        counts: Whole,
        kind: Whole,
        expected: Floats,
        told: bool,
        needs: str,
        by: Whole | None = None,
    ) -> None:
        if not told:
            self.out.assumed(name, f"the trace is shorter than {needs}")
            return
        seen, hoped = (
            (counts, expected) if by is None else (np.bincount(by, counts), np.bincount(by, expected))
        )
        free = max(len(seen) - len(weights), 1)
        dispersion = max(1.0, float(((seen - hoped) ** 2 / hoped).sum()) / free)
        of_kind = np.bincount(kind, counts, len(weights))
        told_by = f"requests per slot vary {dispersion:.1f} times as much as by Poisson's law"
        each = [scaled(float(w), float(n), dispersion) for w, n in zip(weights, of_kind, strict=True)]
        even = np.bincount(kind, expected / np.maximum(weights[kind], 1e-9), len(weights))
        even *= of_kind.sum() / even.sum()
        chance = stats.chi2.sf(((of_kind - even) ** 2 / even).sum() / dispersion, len(weights) - 1)
        self.out.listed(name, each, f"{told_by}; equal weights: p = {chance:.2g}")

    def _process(self, shape: Floats) -> Excitation | None:
        """The requests, on a time scale with an even rate."""
        hours = np.arange(math.floor(self.begin / HOUR), math.ceil((self.begin + self.until) / HOUR) + 1)
        edges = np.clip(hours * HOUR, self.begin, self.begin + self.until)
        self.even = np.concatenate([[0.0], np.cumsum(np.diff(edges) * shape[hours[:-1] % 168])])
        time = np.interp(self.requests.time, edges - self.begin, self.even)
        offset = self._spread().value
        return excitation(time, self.requests.line, self.blank, float(self.even[-1]), offset)

    def _rate(self, shape: Floats, process: Excitation | None) -> None:
        """Creates a day, over whole weeks. The variance is the larger of the process's and the days'."""
        count, sizes = len(self.creates), self.requests.creates
        again = process.share.value if process else 0.0
        model = float((sizes.mean() ** 2 / (1 - again) ** 2 + sizes.var()) / sizes.mean())
        days = int(self.until // DAY)
        told = f"variance {model:.0f} times the mean by the process"
        dispersion = model
        if days >= 7:
            edges = np.interp(np.arange(days + 1) * DAY, self._real(), self.even)
            hoped = count * np.diff(edges) / self.even[-1]
            seen = np.bincount((self.creates["time"] // DAY).astype(int), minlength=days + 1)[:days]
            any_ = hoped > 0
            daily = float(((seen - hoped)[any_] ** 2 / hoped[any_]).sum()) / max(int(any_.sum()) - 1, 1)
            told += f", {daily:.0f} times over the days"
            dispersion = max(model, daily)
        found = scaled(count / float(self.even[-1]) * DAY, count, dispersion)
        self.out.add(Fitted("creates_per_day", found._replace(goodness=told)))

    def _real(self) -> Floats:
        hours = np.arange(math.floor(self.begin / HOUR), math.ceil((self.begin + self.until) / HOUR) + 1)
        return np.asarray(np.clip(hours * HOUR, self.begin, self.begin + self.until) - self.begin)

    def _spread(self) -> Estimate:
        """Seconds of a storm: on average, the last of n creates comes (n - 1) / n of them after the first."""
        several = self.requests.creates > 1
        parts = (1 - 1 / self.requests.creates[several]).sum()
        if not several.any():
            return Estimate(0.0, 0.0, GAP_S)
        extent = self.requests.extent[several]
        value = float(extent.sum() / parts)
        left = extent - value * (1 - 1 / self.requests.creates[several])
        half = Z * math.sqrt(float((left**2).sum())) / parts
        return Estimate(value, max(0.0, value - half), value + half)

    def _storms(self) -> None:
        sizes = self.requests.creates
        # Some storms are requests that came so close by chance: the fit drops as many of the smallest.
        close = self.gap_s * float((np.bincount(self.requests.line).astype(float) ** 2).sum()) / self.until
        chance = min(round(close), int((sizes > 1).sum()))
        storms = np.sort(sizes[sizes > 1])[chance:]
        told = f"creates of an image within {self.gap_s:.3g} s of each other"
        count = len(sizes) + chance
        part = share(len(storms) / count, count)._replace(goodness=told)
        self.out.add(Fitted("storms.share", part))
        if len(storms) >= LEAST_STORMS and len(np.unique(storms)) > 2:
            median, sigma = rounded_lognormal(storms)
            self.out.add(Fitted("storms.creates_median", median), Fitted("storms.creates_sigma", sigma))
            self.out.add(Fitted("storms.spread_s", self._spread()))
        else:
            for name in ("creates_median", "creates_sigma", "spread_s"):
                self.out.assumed(f"storms.{name}", f"{len(storms)} storms")

    def _repeats(self, process: Excitation | None) -> None:
        if process is None:
            self.out.plain("repeats.share", 0.0, "too few requests", assumed=True)
            return
        self.out.add(Fitted("repeats.share", process.share))
        for name in ("after_median_s", "after_sigma"):
            found = getattr(process, name)
            if found is None:
                self.out.assumed(f"repeats.{name}", "no request followed another")
            else:
                self.out.add(Fitted(f"repeats.{name}", found))

    def _popularity(self, process: Excitation | None) -> None:
        seen = [name for name in self.names if name]
        counted = np.bincount(self.requests.line, minlength=len(self.names)).astype(float)
        begun = process.begun if process else counted
        images = np.delete(begun, self.blank) if self.blank >= 0 else begun
        if len(seen) < 2:
            self.out.assumed("popularity.zipf", f"{len(seen)} images")
        else:
            found = process.zipf if process else zipf(images, float(images.sum()))
            self.out.add(Fitted("popularity.zipf", found))
        order = np.argsort(-images, kind="stable")
        self.out.images = [seen[number] for number in order]
        if not self.listed and seen:
            self.out.plain("popularity.images", len(seen), "those seen: there may be more")
        self._releases(process.share.value if process else 0.0)
        if self.listed:
            self.out.note("the scenario's image list, most popular first, gives lines, owners and formats")
            return
        self._private(begun)

    def _releases(self, again: float) -> None:
        used = self.line != self.blank
        time = self.creates["time"].to_numpy()[used]
        every = intervals(time, self.line[used], self.version[used], self.until)
        if every is None:
            reason = "no image is a version of another: line@2, or in --images of the same name"
            self.out.plain("popularity.release_every", None, reason)
            self.out.assumed("popularity.takeover", "no releases seen")
            return
        self.out.duration("popularity.release_every", every)
        first = np.unique(self.requests.of_create[used], return_index=True)[1]
        line, version = self.line[used][first], self.version[used][first]
        found = half_life(time[first], line, version, every.value, 1 / (1 - again))
        if found is None:
            self.out.assumed("popularity.takeover", "too few releases")
        else:
            self.out.duration("popularity.takeover", found)

    def _private(self, begun: Floats) -> None:
        project = self.creates["project"].astype(str).to_numpy()
        often = np.flatnonzero(begun >= LEAST_SESSIONS)
        mine = (project != "") & np.isin(self.line, often[often != self.blank])
        if not mine.any():
            self.out.assumed("popularity.private_share", "the trace names no projects of images used often")
            return
        users = pd.Series(project[mine]).groupby(self.line[mine]).nunique()
        told = f"of {len(users)} images begun {LEAST_SESSIONS} times, used by one project"
        self.out.add(
            Fitted(
                "popularity.private_share",
                share(float((users == 1).mean()), len(users))._replace(goodness=told),
            )
        )

    def _effective(self, process: Excitation | None) -> float:
        """The effective number of independent creates, for properties that a session never changes."""
        sizes, again = self.requests.creates, process.share.value if process else 0.0
        total = sizes.mean() / (1 - again)
        varying = sizes.var() / (1 - again) + sizes.mean() ** 2 * again / (1 - again) ** 3
        return float(len(self.requests.time) * (1 - again) * total**2 / (total**2 + varying))

    def _projects(self, process: Excitation | None) -> None:
        project = self.creates["project"].astype(str)
        users = project.groupby(self.line).transform("nunique")
        shared = (project != "") & (users > 1)  # without images that belong to a project
        counts = project[shared].value_counts().to_numpy().astype(float)
        if not len(counts):
            self.out.assumed("projects.count", "the trace names no projects")
            self.out.assumed("projects.zipf", "the trace names no projects")
            return
        self.out.plain("projects.count", len(counts), "those seen: there may be more")
        if len(counts) > 1:
            self.out.add(Fitted("projects.zipf", zipf(counts, self._effective(process) * shared.mean())))

    def _grouped(self, hits: npt.NDArray[np.bool_]) -> Estimate:
        groups = len(self.requests.time)
        return grouped_share(
            np.bincount(self.requests.of_create, hits, groups).astype(float),
            self.requests.creates.astype(float),
        )

    def _volumes(self) -> None:
        if not self.listed:
            self.out.assumed("raw_share", "a trace has no formats")
        tier = self.creates["volume_type"].astype(str).to_numpy()
        self.out.mapping("tiers", {name: self._grouped(tier == name) for name in sorted(set(tier))})
        size = self.creates["size_gib"].to_numpy()
        kept = pd.Series(size).value_counts().index[:SIZES].sort_values().to_numpy()
        rounded = kept[np.minimum(np.searchsorted(kept, size), len(kept) - 1)]
        told = f"{(np.isin(size, kept)).mean():.1%} of the creates have one of {len(kept)} sizes"
        self.out.mapping("volume_gib", {int(gib): self._grouped(rounded == gib) for gib in kept}, told)

    def _shares(self, process: Excitation | None) -> None:
        encrypted = self.creates["encrypted"].to_numpy()
        self.out.add(Fitted("encrypted_share", self._grouped(encrypted)))
        blank = (self.line == self.blank).mean()
        self.out.add(Fitted("blank_share", share(float(blank), self._effective(process))))
        updates = int((self.events["event"] == "update_image").sum())
        self.out.add(Fitted("updates_per_day", rate(updates, self.until / DAY)))
        self.out.assumed("uploads_per_day", "traces have no uploads yet")


__all__ = ["Fit", "fit", "fit_trace"]
