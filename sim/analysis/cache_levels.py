"""What the cache holds over time, from its events, which may come in parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.analysis.wording import ENTRIES, changes

if TYPE_CHECKING:
    from sim.inputs.scenario import Case

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class CachedGib:
    """GiB of the cache's entries on each pool, from a time on."""

    def __init__(self, case: Case) -> None:
        initial = case.initial[case.initial["kind"] == "cache"]
        self._before = initial.groupby(initial["host"].astype(str))["size_gib"].sum().astype(float).to_dict()
        self._moves = pd.DataFrame({"host": pd.Series(dtype="str"), "time": [], "gib": []})

    def add(self, cache_events: pd.DataFrame) -> None:
        """Take in the next events, in order of time."""
        events = cache_events[cache_events["event"].isin(list(ENTRIES))]
        gib = changes(events) * events["size_gib"].to_numpy(float)
        moves = events[["host", "time"]].assign(gib=gib).astype({"host": "str"})
        self._moves = pd.concat([self._moves, moves], ignore_index=True)

    def forget(self, until_s: float) -> None:
        """Nothing before this time will be asked for."""
        old = self._moves["time"] < until_s
        for host, gib in self._moves[old].groupby("host")["gib"].sum().items():
            self._before[str(host)] = self._before.get(str(host), 0.0) + float(gib)
        self._moves = self._moves[~old]

    def at(self, host: str, time_s: Floats) -> Floats:
        """The GiB on a pool, of each time."""
        moves = self._moves[self._moves["host"] == host]
        levels = self._before.get(host, 0.0) + np.append(0.0, np.cumsum(moves["gib"].to_numpy(float)))
        held: Floats = levels[np.searchsorted(moves["time"].to_numpy(float), time_s, side="right")]
        return held


@dataclass
class _Level:
    """What a cache holds since `time_s`, and how far and how long it was above its limits."""

    entries: int
    gib: float
    time_s: float = 0.0
    filled: bool = False  # what exists at the start may exceed the limits until the first fill evicts it
    peak: dict[str, int] = field(default_factory=dict)
    over_s: dict[str, float] = field(default_factory=dict)


class Overshoots:
    """Fills at the same time that take a cache over its limits; no lock protects the limits."""

    def __init__(self, case: Case) -> None:
        self._case, self._levels = case, dict[str, _Level]()
        self._per_backend = case.scenario.what_if.limits_per_backend

    def add(self, cache_events: pd.DataFrame) -> None:
        """Take in the next events, in order of time."""
        events = cache_events[cache_events["event"].isin(list(ENTRIES))]
        numbers, hosts = pd.factorize(self._bounded(events))
        signs, sizes_gib, times = (
            changes(events),
            events["size_gib"].to_numpy(float),
            events["time"].to_numpy(),
        )
        for number, host in enumerate(hosts):
            level = self._levels.setdefault(host, self._start(host))
            rows = np.flatnonzero(numbers == number)
            sign = signs[rows]
            entries = level.entries + np.cumsum(sign)
            gib = level.gib + np.cumsum(sign * sizes_gib[rows])
            self._hold(host, times[rows], entries, gib, np.cumsum(sign > 0) > 0)

    def table(self, end_s: float) -> pd.DataFrame:
        """The limits that were passed until the end of the run: host, limit, allowed, peak and over_s."""
        rows = []
        for host, level in sorted(self._levels.items()):
            same = (np.array([value]) for value in (end_s, level.entries, level.gib, level.filled))
            self._hold(host, *same)
            rows += [
                (host, limit, allowed, level.peak[limit], level.over_s[limit])
                for limit, allowed in self._limits(host).items()
                if level.over_s.get(limit)
            ]
        return pd.DataFrame(rows, columns=["host", "limit", "allowed", "peak", "over_s"])

    def _hold(self, host: str, times: Floats, entries: Floats, gib: Floats, filled: Mask) -> None:
        """Add up what was above the limits until each of these times, from which on the levels are others."""
        level = self._levels[host]
        held_s = np.diff(times, prepend=level.time_s)
        bounded = level.filled | np.append(False, filled[:-1])
        of_limits = (np.append(level.entries, entries[:-1]), np.append(level.gib, gib[:-1]))
        for (limit, allowed), levels in zip(self._limits(host).items(), of_limits, strict=True):
            over = (levels > allowed) & bounded & (held_s > 0)
            if allowed and over.any():
                level.peak[limit] = max(level.peak.get(limit, 0), int(levels[over].max()))
                level.over_s[limit] = level.over_s.get(limit, 0.0) + float(held_s[over].sum())
        level.entries, level.gib, level.time_s = int(entries[-1]), float(gib[-1]), float(times[-1])
        level.filled |= bool(filled[-1])

    def _bounded(self, table: pd.DataFrame) -> pd.Series[str]:
        hosts = table["host"].astype(str)
        return hosts.str.replace("#.*", "", regex=True) if self._per_backend else hosts

    def _start(self, host: str) -> _Level:
        initial = self._case.initial[self._case.initial["kind"] == "cache"]
        sizes = initial.loc[self._bounded(initial) == host, "size_gib"]
        return _Level(len(sizes), float(sizes.sum()))

    def _limits(self, host: str) -> dict[str, int]:
        backend = self._case.scenario.backend_at(host)
        return {
            "image_volume_cache_max_count": backend.image_volume_cache_max_count,
            "image_volume_cache_max_size_gb": backend.image_volume_cache_max_size_gb,
        }
