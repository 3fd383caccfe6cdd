"""Counts that add up: those of the parts of a run give those of the whole.

A run in memory is one part. A run whose trace stays on disk is counted in parts, and no part stays in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from sim.analysis.names import among
from sim.inputs.strategies import Strategy
from sim.model.records import Records

if TYPE_CHECKING:
    from sim.inputs.scenario import Case


@dataclass(frozen=True)
class Part:
    """Creates, and all events of the cache that belong to them.

    `requests`, `others`, `cache_events`: as in Records. `events`: the rows of the trace that ask for these
    creates; there may be other rows. `cached_gib`: by pool and seconds, GiB of the cache's entries there.
    """

    requests: pd.DataFrame
    others: pd.DataFrame
    cache_events: pd.DataFrame
    events: pd.DataFrame
    cached_gib: Callable[[str, np.ndarray], np.ndarray]

    @cached_property
    def failed(self) -> pd.DataFrame:
        """The creates that failed, with or without an image."""
        return failures(self)

    @cached_property
    def skips(self) -> pd.DataFrame:
        """The fills that were not made or failed."""
        return self.events_of("skip")

    def events_of(self, event: str) -> pd.DataFrame:
        return self.cache_events[self.cache_events["event"] == event]


def failures(of: Part | Records) -> pd.DataFrame:
    """The creates that failed, with or without an image: columns that both tables have."""
    columns = ["volume_id", "volume_type", "size_gib", "time", "end", "status", "error", "attempts"]
    tables = [table.loc[table["status"] == "error", columns] for table in (of.requests, of.others)]
    return pd.concat(tables, ignore_index=True)


@dataclass(frozen=True)
class Ended:
    """A run at its end holds this, beside its creates.

    `cache`, `nodes`, `usage`: as in Records. `deleted_images`: the images that the trace deleted.
    `waited_p95_s`: of a tier and the number of its creates that waited for a lock, the 95th percentile of
    their seconds.
    `end_s`: when the last create, event of the cache or of the trace ended.
    `records`: None if the run's tables are not in memory. Then nothing is said that needs all of them.
    """

    cache: pd.DataFrame
    nodes: pd.DataFrame
    usage: pd.DataFrame
    deleted_images: set[str]
    waited_p95_s: Callable[[str, int], float]
    end_s: float
    records: Records | None = None


class Kind(NamedTuple):
    """A table of counts: its `keys`, and what gives its rows, None if there are none.

    The rows of equal keys are added up; of a column that ends with `_max` the largest stays.
    """

    keys: tuple[str, ...]
    rows: Callable[[Part, Case, Strategy], pd.DataFrame | None]


Counts = dict[str, pd.DataFrame]  # without empty tables


def counted(kinds: Mapping[str, Kind], part: Part, case: Case, strategy: Strategy, before: Counts) -> Counts:
    """The counts of a part and of those `before` it (empty: there are none)."""
    counts = dict(before)
    for name, kind in kinds.items():
        rows = kind.rows(part, case, strategy)
        if rows is not None and len(rows):
            counts[name] = _summed(list(kind.keys), rows, before.get(name))
    return counts


def _summed(keys: list[str], rows: pd.DataFrame, before: pd.DataFrame | None) -> pd.DataFrame:
    """One row for each combination of the keys. `DataFrame.groupby` takes much longer for few rows."""
    both = rows if before is None else pd.concat([before, rows], ignore_index=True)
    codes, names = np.zeros(len(both), np.int64), {}
    for key in keys:
        numbers, names[key] = pd.factorize(both[key], sort=True)
        codes = codes * len(names[key]) + numbers
    place, known = pd.factorize(codes, sort=True)  # `np.unique` would sort all rows
    table: dict[str, Any] = dict.fromkeys(keys)
    rest = known
    for key in reversed(keys):
        rest, numbers = np.divmod(rest, len(names[key]))
        table[key] = names[key].take(numbers).astype("str")
    for name in both.columns.difference(keys, sort=False):
        values = both[name].to_numpy()
        largest = str(name).endswith("_max")
        total = np.full(len(known), values.min()) if largest else np.zeros(len(known), values.dtype)
        (np.maximum if largest else np.add).at(total, place, values)
        table[name] = total
    return pd.DataFrame(table)


def costs(creates: pd.DataFrame, case: Case, *columns: str) -> pd.DataFrame:
    """Some columns of creates, each with `creates`, 1, and `lost_s`: see `sim.analysis.wording.Finding`."""
    failed = creates["status"] == "error"
    seconds = (creates["end"] - creates["time"]).where(~failed, case.scenario.boot_timeout_s)
    return creates[list(columns)].assign(creates=1, lost_s=seconds)


def costs_of(events: pd.DataFrame, part: Part, case: Case) -> pd.DataFrame:
    """Events of the cache with `lost_s`, that of their create from an image; each create counts once."""
    chosen = part.requests[among(part.requests["volume_id"], events["volume_id"])]
    lost = costs(chosen, case, "volume_id").set_index("volume_id")["lost_s"]
    lost = events["volume_id"].map(lost[~lost.index.duplicated()]).fillna(0.0)
    return events.assign(lost_s=lost.mask(events.duplicated(["host", "volume_id"]), 0.0))
