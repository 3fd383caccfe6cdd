"""Releases from a trace: which images are versions of one line, how often they come, how fast they spread."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, special, stats

from sim.fitting.estimates import Estimate, Floats, Z, rate
from sim.inputs.generator import DAY
from sim.inputs.images import Image

Whole = npt.NDArray[np.int64]
LEAST = 20  # requests needed to see which versions are in use
MOST = 50_000  # requests used at most
EARLIER = np.linspace(0, 1, 40, endpoint=False) ** 2  # of the time between releases, before the first use


def lines_of(image_id: pd.Series[str], listed: Mapping[str, Image]) -> tuple[list[str], Whole, Whole]:
    """The lines (N) by the id of their first version, and the line and version (1, 2, ...) of each create.

    Versions of a line are `line`, `line@2`, ..., or have one name and owner in `listed`; if the ids do not
    number them, they are in the order of their first use.
    """
    codes, ids = pd.factorize(image_id)
    names, numbers = [], []
    for one in ids:
        found = re.fullmatch(r"(.+)@([0-9]{1,9})", one)
        image = listed.get(one)
        names.append(
            ("name", image.name, image.owner)
            if image and image.name and not found
            else ("id", found[1] if found else one, "")
        )
        numbers.append(int(found[2]) if found else 1)
    of_line: dict[tuple[str, str, str], int] = {}
    lines, versions = [], []
    firsts: list[str] = []
    used: list[int] = []
    for one, name, number in zip(ids, names, numbers, strict=True):
        line = of_line.setdefault(name, len(of_line))
        if line == len(firsts):
            firsts.append(name[1] if name[0] == "id" else one)
            used.append(0)
        used[line] += 1
        lines.append(line)
        versions.append(number if name[0] == "id" else used[line])
    return firsts, np.array(lines, np.int64)[codes], np.array(versions, np.int64)[codes]


def _births(time: Floats, line: Whole, version: Whole) -> pd.DataFrame:
    """First uses of versions, by line and version: columns line, version, time."""
    frame = pd.DataFrame({"line": line, "version": version, "time": time})
    return frame.groupby(["line", "version"])[["time"]].min().reset_index()


def intervals(time: Floats, line: Whole, version: Whole, until: float) -> Estimate | None:
    """Seconds from a release to the next; None if there was none.

    The estimate comes from the first uses in lines with several releases; without such lines, from how many
    lines had one.
    """
    births = _births(time, line, version)
    new = births[births["version"] > births.groupby("line")["version"].transform("min")]
    if new.empty:
        return None
    ends = new.groupby("line").agg(["first", "last"])
    steps = (ends["version"]["last"] - ends["version"]["first"]).to_numpy()
    told = f"{len(new)} releases in {new['line'].nunique()} lines"
    took = (ends["time"]["last"] - ends["time"]["first"]).to_numpy()
    if took.sum() > 0:
        apart = max(1, int(until * steps.sum() / took.sum()) - 2)
        found = _steps(new, apart)
        if len(found) >= 3:
            half = stats.t.ppf(0.975, len(found) - 1) * stats.sem(found)
            value = float(np.mean(found))
            return Estimate(value, max(value - half, 0.0), value + half, told)
    often = rate(len(new), until * len(np.unique(line)))
    return Estimate(1 / often.value, 1 / often.high, 1 / often.low, f"{told}: by their number alone")


def _steps(new: pd.DataFrame, apart: int) -> Floats:
    """Seconds per release, by the first new version of each line and one `apart` versions later.

    The last of all is not used: among versions released late in the trace, only those used soon are seen.
    """
    first = new.groupby("line")[["version", "time"]].first()
    later = new.set_index(["line", "version"])["time"]
    ends = later.reindex(pd.MultiIndex.from_arrays([first.index, first["version"] + apart])).to_numpy()
    return np.asarray(((ends - first["time"].to_numpy()) / apart)[np.isfinite(ends)])


def half_life(time: Floats, line: Whole, version: Whole, every: float, alike: float) -> Estimate | None:
    """Seconds until half of the new sessions use a new version, by requests; None if there are too few.

    After a release, the probability that a request uses an older version halves again and again. The fit sums
    over possible release times before the first use. Sessions count, not requests: `alike` requests are in
    one session, or as many as in this request's session if that has twice as many or more.
    """
    since, older, release = _used_older(time, line, version, every)
    if len(since) < LEAST:
        return None
    releases = int(release.max()) + 1

    def loss(log: float) -> float:
        pace, each = math.exp(-log), []
        for early in EARLIER * every:
            age = np.maximum(since + early, 0.0) * pace
            seen = np.where(older, -age, np.log(-np.expm1(-np.maximum(age, 1e-12))))
            each.append(np.bincount(release, seen, releases) / alike)
        return -float(special.logsumexp(each, axis=0, b=np.diff(EARLIER, append=1.0)[:, None]).sum())

    found = optimize.minimize_scalar(loss, bounds=(math.log(60.0), math.log(3650 * DAY)), method="bounded")
    top, step = float(found.x), 0.05
    bend = (loss(top + step) + loss(top - step) - 2 * loss(top)) / step**2
    half = Z * math.sqrt(alike / bend) if bend > 0 else math.inf
    value = math.exp(top) * math.log(2)
    told = f"{len(since):,} requests about {releases} releases"
    return Estimate(value, value * math.exp(-half), value * math.exp(min(half, 700)), told)


def _used_older(
    time: Floats, line: Whole, version: Whole, every: float
) -> tuple[Floats, npt.NDArray[np.bool_], Whole]:
    """Requests of a line near a release: seconds since its first use, whether of an older version, which."""
    births = _births(time, line, version)
    new = births[births["version"] > births.groupby("line")["version"].transform("min")]
    order = np.lexsort((time, line))
    time, line, version = time[order], line[order], version[order]
    parts, count = [], 0
    for of, number, first in new.itertuples(index=False):
        begin, end = np.searchsorted(line, [of, of + 1])
        low, high = begin + np.searchsorted(time[begin:end], [first - every, first + every])
        if high - low < LEAST:  # in lines that are used rarely, only releases that are used soon are seen
            continue
        count += high - low
        parts.append((time[low:high] - first, version[low:high] < number))
        if count > MOST:
            break
    if not parts:
        return np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64)
    release = np.repeat(np.arange(len(parts)), [len(since) for since, _ in parts])
    since, older = (np.concatenate(column) for column in zip(*parts, strict=True))
    return since, older, release
