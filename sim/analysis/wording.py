"""The wording of findings, in plain words, and what each costs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.inputs.problems import printable
from sim.model.records import Records

if TYPE_CHECKING:
    from sim.inputs.scenario import Case

# The change of the number of entries by each event.
ENTRIES = {"create": 1, "evict": -1, "stale": -1, "clone_limit": -1}
MOST = 5  # names in one line


class Finding(str):
    """A line on what stood out.

    `tier`: the volume type that it concerns, '' for all together. `lost_s`: the seconds of the creates that
    it concerns; each failed create counts `boot_timeout_s`, because somebody waited in vain.
    """

    __slots__ = ("lost_s", "tier")
    tier: str
    lost_s: float

    def __new__(cls, line: str, tier: str = "", lost_s: float = 0.0) -> Finding:
        made = super().__new__(cls, line)
        made.tier, made.lost_s = tier, lost_s
        return made


def at_host(line: str, case: Case, host: str, lost_s: float = 0.0) -> Finding:
    """A finding on a pool or a backend, which concerns its tier."""
    types = case.scenario.backend_at(host).volume_types
    return Finding(f"{host}: {line}", types[0] if len(types) == 1 else "", lost_s)


def lost_s(creates: pd.DataFrame, case: Case) -> float:
    """See `Finding`. `creates`: rows with `status`, `time` and `end`."""
    failed = creates["status"] == "error"
    seconds = (creates["end"] - creates["time"])[~failed].sum()
    return float(seconds + failed.sum() * case.scenario.boot_timeout_s)


def name_of(case: Case, image_id: Any) -> str:
    image = case.images.get(image_id)
    return printable((image.name if image else "") or str(image_id))


def changes(events: pd.DataFrame) -> npt.NDArray[np.float64]:
    """How many entries each of these events of the cache adds; -1 where it takes one away."""
    codes, names = pd.factorize(events["event"])
    return np.array([ENTRIES[str(name)] for name in names], dtype=float)[codes]


def events_of(records: Records, event: str) -> pd.DataFrame:
    return records.cache_events[records.cache_events["event"] == event]


def by(rows: pd.DataFrame, column: str) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each value of a column; the value with the most rows comes first."""
    groups = [(str(value), group) for value, group in rows.groupby(column, observed=True)]
    return sorted(groups, key=lambda group: -len(group[1]))


def parts_of(counts: pd.DataFrame | None, column: str) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each value of a column, if there are any; the value with the most `creates` comes first."""
    if counts is None:
        return []
    groups = [(str(value), group) for value, group in counts.groupby(column)]
    return sorted(groups, key=lambda group: -group[1]["creates"].sum())


def number(counts: pd.DataFrame) -> int:
    return int(counts["creates"].sum())


def lost(counts: pd.DataFrame) -> float:
    """See `Finding`."""
    return float(counts["lost_s"].sum())


def some(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - MOST
    return ", ".join(names[:MOST]) + (f" and {more:,} more" if more > 0 else "")


def exception_of(errors: pd.Series[Any]) -> pd.Series[str]:
    """The name of each exception and of the exception before it: `A after B`."""
    names = errors.astype(str).str.extract(r"^([^:]*)(?:: ([A-Z]\w+[A-Z]\w+):)?")
    return names[0].astype(str) + (" after " + names[1].astype("str")).fillna("")


def exceptions(counts: pd.DataFrame) -> str:
    """The `creates` of each `exception_of`, in the column `what`: `A after B 3, C 1`."""
    ordered = counts.sort_values("creates", ascending=False, kind="stable")
    return some(f"{what} {count:,}" for what, count in zip(ordered["what"], ordered["creates"], strict=True))


def count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def clone_limits(case: Case, host: str) -> str:
    """The keys that limit clones on a pool's array, with their values."""
    spec = case.scenario.backend_at(host)
    limits = {
        "max_clones_per_volume": spec.max_clones_per_volume,
        "clone_family_limit": spec.clone_family_limit,
    }
    return ", ".join(f"{key} {limit}" for key, limit in limits.items() if limit is not None)


def creates(events: pd.DataFrame) -> str:
    return count(events["volume_id"].nunique(), "create")


def seconds_text(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
