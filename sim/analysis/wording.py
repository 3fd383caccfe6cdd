"""The wording of findings: counts, names and times in plain words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from sim.inputs.problems import printable
from sim.model.records import Records

if TYPE_CHECKING:
    from sim.inputs.scenario import Case

# The change of the number of entries by each event.
ENTRIES = {"create": 1, "evict": -1, "stale": -1, "clone_limit": -1}
MOST = 5  # lines of one kind, and names in one line


def name_of(case: Case, image_id: Any) -> str:
    image = case.images.get(image_id)
    return printable((image.name if image else "") or str(image_id))


def events_of(records: Records, event: str) -> pd.DataFrame:
    return records.cache_events[records.cache_events["event"] == event]


def by(rows: pd.DataFrame, column: str) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each value of a column; the value with the most rows comes first."""
    groups = [(str(value), group) for value, group in rows.groupby(column, observed=True)]
    return sorted(groups, key=lambda group: -len(group[1]))


def first(lines: list[str]) -> list[str]:
    more = len(lines) - MOST
    return lines if more <= 0 else [*lines[:MOST], f"and {more:,} more like the last"]


def some(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - MOST
    return ", ".join(names[:MOST]) + (f" and {more:,} more" if more > 0 else "")


def exceptions(errors: pd.Series[Any]) -> str:
    """The count of each exception and of the exception before it: `A after B 3, C 1`."""
    names = errors.astype(str).str.extract(r"^([^:]*)(?:: ([A-Z]\w+[A-Z]\w+):)?")
    counts = (names[0] + (" after " + names[1]).fillna("")).value_counts()
    return some(f"{name} {count:,}" for name, count in counts.items())


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


def share(creates: pd.DataFrame | pd.Series[Any], records: Records) -> str:
    return f"{count(len(creates), 'create')} of {len(records.requests):,}"


def creates(events: pd.DataFrame) -> str:
    return count(events["volume_id"].nunique(), "create")


def seconds_text(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
