"""Compares engine `fast` with engine `cinder`: equal to the last bit, or the first difference."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from sim.inputs.cinders import Cinder
from sim.inputs.problems import printable
from sim.inputs.scenario import Case
from sim.model.records import Records
from sim.run import run

ENGINES = ("cinder", "fast")
TABLES = (
    *("requests", "others", "cache_events", "cache", "uploads", "volumes", "usage", "space", "nodes"),
    *("directories", "links"),
)
WIDTH = 80

Rows = npt.NDArray[np.intp]
Side = str | Cinder  # an engine, or a Cinder with engine `cinder`


@dataclass(frozen=True)
class Verdict:
    """A strategy run twice. `difference` describes the first difference; None if they agree."""

    strategy: str
    requests: int
    evictions: int
    difference: str | None

    def __str__(self) -> str:
        if self.difference is None:
            return f"{self.strategy}: equal: {self.requests:,} requests, {self.evictions:,} evictions"
        return f"{self.strategy}: differs\n{self.difference}"


def verdict(
    case: Case,
    strategy: str,
    progress: Callable[[int], None] | None = None,
    first: Side = ENGINES[0],
    second: Side = ENGINES[1],
) -> Verdict:
    """Run a strategy on both engines, or with two Cinders, and compare all results.

    `progress` is called with the number of trace events done, of both runs together.
    """
    events, sides = len(case.trace.events), (first, second)
    one, other = (_ran(case, strategy, side, _from(progress, at * events)) for at, side in enumerate(sides))
    evictions = int((one.cache_events["event"] == "evict").sum())
    told = difference(one, other, (_name(first), _name(second)))
    return Verdict(strategy, len(one.requests), evictions, told)


def _ran(case: Case, strategy: str, side: Side, progress: Callable[[int], None] | None) -> Records:
    if isinstance(side, Cinder):
        return run(case, strategy, cinder=side, progress=progress)
    return run(case, strategy, side, progress=progress)


def _name(side: Side) -> str:
    return f"Cinder {side.name}" if isinstance(side, Cinder) else side


def _from(progress: Callable[[int], None] | None, before: int) -> Callable[[int], None] | None:
    return None if progress is None else lambda done: progress(before + done)


def difference(first: Records, second: Records, names: tuple[str, str] = ENGINES) -> str | None:
    """The first difference of two runs in time, as text of 80 columns, side by side; None if they agree.

    Every column counts, floats to the last bit; only `engine_s` does not. If requests or cache events differ,
    the text shows the first such request (by `end`) and all its events. Otherwise it shows the first row that
    differs.
    """
    pairs = {name: (getattr(first, name), getattr(second, name)) for name in TABLES}
    for name, (one, other) in pairs.items():
        if wrong := _other_columns(one, other):
            return textwrap.fill(f"columns of {name}: {wrong}", WIDTH)
    unequal = {name: _unequal(*pair) for name, pair in pairs.items()}
    counts = ", ".join(f"{len(rows):,} of {name}" for name, rows in unequal.items() if len(rows))
    if not counts:
        return None
    requests, events = pairs["requests"], pairs["cache_events"]
    row = _first_request(requests, unequal["requests"], events, unequal["cache_events"])
    if row is not None:
        volume_id = next(table["volume_id"].iloc[row] for table in requests if row < len(table))
        told = f"first the create of {volume_id}:"
        rows = _cells(requests, row) + _story(events, volume_id)
    else:
        name = next(name for name in TABLES if len(unequal[name]))
        told = f"first row {unequal[name][0]} of {name}:"
        rows = _cells(pairs[name], unequal[name][0])
    return f"rows that differ: {counts}\n{textwrap.fill(printable(told), WIDTH)}\n{_beside(rows, names)}"


# -- finding differences -------------------------------------------------------------------------------


def _other_columns(one: pd.DataFrame, other: pd.DataFrame) -> str:
    """The names and types of columns that differ ('' if none do; an empty table has no types)."""
    if list(one.columns) != list(other.columns):
        return f"{', '.join(one.columns)} / {', '.join(other.columns)}"
    if not len(one) or not len(other):
        return ""
    pairs = zip(one.columns, one.dtypes, other.dtypes, strict=True)
    return "; ".join(f"{name}: {a} / {b}" for name, a, b in pairs if a != b)


def _unequal(one: pd.DataFrame, other: pd.DataFrame) -> Rows:
    """Positions of the rows that differ, or that only one of the tables has."""
    both, most = sorted((len(one), len(other)))
    mask = np.ones(most, dtype=bool)
    mask[:both] = False
    for name in one.columns:
        mask[:both] |= _bits(one[name].iloc[:both]) != _bits(other[name].iloc[:both])
    return np.flatnonzero(mask)


def _bits(column: pd.Series[Any]) -> npt.NDArray[Any]:
    """Values that compare as equal only if identical: -0.0 differs from 0.0, a NaN equals itself."""
    if column.dtype.kind == "f":
        return column.to_numpy(dtype=np.float64).view(np.int64)
    return column.to_numpy(dtype=object)


def _first_request(
    requests: tuple[pd.DataFrame, pd.DataFrame],
    rows: Rows,
    events: tuple[pd.DataFrame, pd.DataFrame],
    event_rows: Rows,
) -> int | None:
    """The position of the request at which two runs first differ, in its own row or in an event during it."""
    found: list[tuple[float, int]] = []
    for table in requests:
        of_table = rows[rows < len(table)]
        ends = table["end"].to_numpy()[of_table]
        found += [(float(ends[at]), int(of_table[at])) for at in ([ends.argmin()] if len(ends) else [])]
    for table in events:
        if len(event_rows) and event_rows[0] < len(table):
            event = table.iloc[event_rows[0]]
            at = np.flatnonzero(requests[0]["volume_id"] == event["volume_id"])
            found += [(float(event["time"]), int(row)) for row in at]
    return min(found)[1] if found else None


# -- showing differences -------------------------------------------------------------------------------

Cells = list[tuple[str, str, str]]  # the name, the first run's value, the second run's value


def _cells(tables: tuple[pd.DataFrame, pd.DataFrame], row: int) -> Cells:
    """A row of both, column by column."""
    one, other = tables
    return [(str(name), _cell(one, row, index), _cell(other, row, index)) for index, name in enumerate(one)]


def _cell(table: pd.DataFrame, row: int, column: int) -> str:
    if row >= len(table):
        return "(no such row)"
    value = table.iat[row, column]
    return value if isinstance(value, str) else repr(value.item() if isinstance(value, np.generic) else value)


def _story(events: tuple[pd.DataFrame, pd.DataFrame], volume_id: str) -> Cells:
    """The events of the cache during a create."""
    one, other = ([_told(event) for event in _of(table, volume_id)] for table in events)
    count = max(len(one), len(other))
    for told in (one, other):
        told += [""] * (count - len(told))
    return [(f"event {number}", *pair) for number, pair in enumerate(zip(one, other, strict=True), 1)]


def _of(events: pd.DataFrame, volume_id: str) -> list[dict[str, Any]]:
    rows = events[events["volume_id"] == volume_id]
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _told(event: dict[str, Any]) -> str:
    reason = f": {event['reason']}" if event["reason"] else ""
    where = f"{event['image_id']} ({event['size_gib']} GiB) on {event['host']}"
    return f"{event['time']!r} {event['event']} {where}{reason}"


def _beside(rows: Cells, names: tuple[str, str]) -> str:
    """A table of both engines, with a star at each difference."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), width=WIDTH)
    table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(name, ratio=1, overflow="fold")
    for what, one, other in rows:
        mark = "  " if one == other else "* "
        table.add_row(mark + printable(what), printable(one), printable(other))
    console = Console(width=WIDTH, highlight=False, markup=False, color_system=None)
    with console.capture() as text:
        console.print(table)
    return "\n".join(line.rstrip() for line in text.get().splitlines())
