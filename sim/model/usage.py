"""Space and places over simulated time: time-weighted means and peaks, per pool, tier and in total."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
QUANTITIES = ("volumes", "provisioned_gib", "physical_gib")
ALL = "all"  # the scope of all tiers together, and in summaries its name
KINDS = ("user", "cache", "store", "image", "orphan")  # image = cache + store
OWNERS = KINDS[:3]  # the owners whose volumes add up to all volumes
POINTS = 200  # instants at which levels are recorded
NO_TIMES = np.zeros(0)
FOLD_AT = 100_000  # changes kept before they are folded, which bounds memory on long runs
COLUMNS = 7  # of a change: its time and what `UsageMeter.add` receives


def instants(last_s: float) -> Floats:
    """Instants at which levels are recorded: evenly from 0 to the trace's last event, in seconds."""
    return np.linspace(0.0, last_s, POINTS) if last_s > 0 else np.zeros(1)


def space_table(times: Floats, hosts: Sequence[str], levels: Floats) -> pd.DataFrame:
    """`sim.model.records.Records.space` of levels (hosts, times, OWNERS, QUANTITIES)."""
    table = pd.DataFrame({"host": np.repeat(np.array(hosts, object), len(times))}, dtype="str")
    table["time"] = np.tile(times, len(hosts))
    for owner, of_owner in enumerate(OWNERS):
        for number, quantity in enumerate(QUANTITIES):
            table[f"{of_owner}_{quantity}"] = levels[:, :, owner, number].ravel()
    return table.astype({f"{owner}_volumes": "int64" for owner in OWNERS})


class UsageMeter:
    """Receives every change on the arrays and folds the changes into means and peaks.

    `now` gives the simulated time in seconds, `times` (ascending) are the instants whose levels are kept.
    Changes are kept as rows and folded by numpy, many at once. Updating about thirty means and peaks per
    change would cost more than the simulation.
    """

    def __init__(
        self,
        now: Callable[[], float],
        hosts: Iterable[str],
        tiers: Iterable[str],
        times: Floats = NO_TIMES,
    ) -> None:
        self.last = 0.0  # time of the last change in seconds
        self._now, self._times, self._hosts = now, times, list(hosts)
        # Column after column of each change, in one list: the collector of garbage would go through tuples.
        self._rows: list[Any] = []
        self._fold_at = FOLD_AT * COLUMNS
        self._accounts = {
            (scope, name, kind): _Account(times if scope == "pool" else NO_TIMES)
            for scope, names in (("pool", self._hosts), ("tier", tiers), (ALL, [""]))
            for name in names
            for kind in KINDS
        }

    def add(self, host: str, tier: str, kind: str, volumes: int, provisioned: float, physical: float) -> None:
        """Note a change: volumes (count), provisioned and physical space (GiB)."""
        self.last = now = self._now()
        rows = self._rows
        rows += now, host, tier, kind, volumes, provisioned, physical
        if len(rows) >= self._fold_at:
            self._fold()

    def table(self, end: float) -> pd.DataFrame:
        """One row per scope, name and kind; means over [0, `end`] seconds.

        Columns: scope (pool | tier | all), name, kind, then `{quantity}_mean` and `{quantity}_peak` of
        volumes, provisioned_gib and physical_gib, then `{quantity}_end`, the value at the end.
        """
        self._fold()
        rows = []
        for (scope, name, kind), account in self._accounts.items():
            mean = account.mean(end)
            row: dict[str, object] = {"scope": scope, "name": name, "kind": kind}
            for index, quantity in enumerate(QUANTITIES):
                row[f"{quantity}_mean"] = float(mean[index])
                row[f"{quantity}_peak"] = float(account.peak[index])
            row["volumes_end"] = int(account.level[0])
            row["provisioned_gib_end"] = float(account.level[1])
            row["physical_gib_end"] = float(account.level[2])
            rows.append(row)
        return pd.DataFrame(rows)

    def space(self) -> pd.DataFrame:
        """The levels at the given times, as `sim.model.records.Records` has them."""
        self._fold()
        levels = [[self._accounts["pool", host, owner].at for owner in OWNERS] for host in self._hosts]
        shape = (len(self._hosts), len(OWNERS), len(self._times), len(QUANTITIES))
        return space_table(self._times, self._hosts, np.reshape(levels, shape).swapaxes(1, 2))

    def _fold(self) -> None:
        if not self._rows:
            return
        times, hosts, tiers, kinds, *changes = (self._rows[column::COLUMNS] for column in range(COLUMNS))
        self._rows = []
        time, change = np.array(times), np.array(changes, dtype=float)
        of_kind = _where(kinds)
        of_kind["image"] = of_kind["cache"] | of_kind["store"]
        of_name = {"pool": _where(hosts), "tier": _where(tiers), ALL: {"": np.ones(len(time), bool)}}
        for (scope, name, kind), account in self._accounts.items():
            chosen = np.flatnonzero(of_kind[kind] & of_name[scope][name])
            if len(chosen):
                account.fold(time.take(chosen), change.take(chosen, axis=1))


def _where(names: Sequence[str]) -> defaultdict[str, npt.NDArray[np.bool_]]:
    """Where each name is, and nowhere for all others."""
    codes = {name: code for code, name in enumerate(dict.fromkeys(names))}
    coded = np.fromiter(map(codes.__getitem__, names), np.intp, len(names))
    found = {name: coded == code for name, code in codes.items()}
    return defaultdict(lambda: np.zeros(len(names), bool), found)


class _Account:
    """The levels of one scope and kind: their current value, peak and time integral.

    Sums are made change by change, in order. So the floats are the same however many changes are folded at
    once.
    """

    def __init__(self, times: Floats) -> None:
        self.at = np.zeros((len(times), len(QUANTITIES)))  # the levels at these times
        self._times = times
        self.level = np.zeros(len(QUANTITIES))
        self.peak = np.zeros(len(QUANTITIES))
        self._area = np.zeros(len(QUANTITIES))
        self._since = 0.0

    def fold(self, time: np.ndarray, change: np.ndarray) -> None:
        """Add changes: `time` of shape (n,), ascending; `change` of shape (3, n), its rows contiguous."""
        levels = np.cumsum(np.column_stack([self.level, change]), axis=1)
        held = np.diff(time, prepend=self._since)
        self._area = np.cumsum(np.column_stack([self._area, held * levels[:, :-1]]), axis=1)[:, -1].copy()
        changes = np.searchsorted(time, self._times, side="right")  # changes up to each time
        self.at[changes > 0] = levels[:, changes[changes > 0]].T
        self.peak = np.maximum(self.peak, levels.max(axis=1))
        self.level, self._since = levels[:, -1].copy(), float(time[-1])

    def mean(self, end: float) -> np.ndarray:
        """Time-weighted mean over [0, end]; the level itself if no time has passed."""
        if end <= 0:
            return self.level
        return (self._area + (end - self._since) * self.level) / end
