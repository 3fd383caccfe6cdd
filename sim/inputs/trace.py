"""The events of a trace and the initial state, as columns."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sim.inputs import snapshot_events, tables
from sim.inputs.beside import beside
from sim.inputs.cells import write_csv
from sim.inputs.problems import Problems
from sim.inputs.tables import Mask, Table, is_calendar, read_table
from sim.inputs.texts import blanks, texts
from sim.inputs.texts import column as text_column

EVENTS = (
    *("create", "delete", "update_image", "delete_image", "upload", "store_image", "release"),
    *("snapshot", "delete_snapshot"),
    "prefetch",
)
GIVEN = EVENTS[:-1]  # `sim.model.prefetch` makes the last one from releases
REQUIRED = ("time", "event", "volume_id", "image_id", "size_gib", "volume_type", "host")
OPTIONAL = ("project", "encrypted", "first_host", "availability_zone", "snapshot_id")
INITIAL_REQUIRED = ("kind", "volume_id", "image_id", "size_gib", "host", "last_used")
INITIAL_OPTIONAL = ("project",)
_TEXT = (
    *("volume_id", "image_id", "volume_type", "host", "project", "first_host", "availability_zone"),
    "snapshot_id",
)
_IDS = ("volume_id", "image_id", "snapshot_id")  # what `check_volumes` tells of
_OF_VOLUMES = ("create", "delete", "upload")
# Cinder stores a volume's size in 32 bits.
MAX_GIB = 2**31 - 1
# About 126 years: beyond it a float of seconds no longer distinguishes microseconds.
MAX_SECONDS = 4e9


@dataclass(frozen=True)
class Trace:
    """The events, sorted by time, one row each.

    Columns of `events`: `time` (float64, seconds from the start), `event` (category, one of
    EVENTS), `volume_id`, `image_id` ('' = none), `size_gib` (int64, 0 except for creates),
    `volume_type`, `host` ('' = the scheduler chooses), `project` ('' = none), `encrypted`, `first_host`
    (the pool of the first attempt; '' = the scheduler chooses it, too), `availability_zone` ('' = the
    default one) and `snapshot_id` ('' = none).
    `start` is the time of the first event if the trace has dates. `path` is its file.
    """

    events: pd.DataFrame
    start: datetime | None
    path: Path

    @cached_property
    def schedules(self) -> bool:
        """Whether the scheduler places a volume: of a user, or of an image that comes into the store."""
        placed = self.events["event"].isin(["create", "store_image"])
        return bool((placed & (self.events["host"] == "")).any())

    def volumes(self) -> tuple[npt.NDArray[np.int32], pa.Array]:
        """A number for each event's volume_id, and the volume_ids behind the numbers.

        They are made anew each time: that is soon done, and they need as much memory as the column.
        """
        encoded = pc.dictionary_encode(texts(self.events["volume_id"]))
        return encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary


@dataclass(frozen=True)
class Known:
    """The names that a trace may use; None if they are not known and cannot be checked.

    `hosts` has, for each pool's host, the volume types it serves (None: not known).
    """

    images: frozenset[str] | None = None
    tiers: frozenset[str] | None = None
    hosts: Mapping[str, frozenset[str] | None] | None = None


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Read a trace, CSV or Parquet by its suffix. Raises BadInput with every bad cell.

    Only `load` checks whether its names exist, and whether a deleted volume was created before.
    """
    problems = Problems()
    trace = parse_trace(Path(path), Known(), problems)
    problems.raise_any()
    assert trace is not None
    return trace[1]


def parse_trace(path: Path, known: Known, problems: Problems) -> tuple[Table, Trace] | None:
    """Read a trace and note its problems, except those of `check_volumes`; None if unreadable.

    A bad cell gets some valid value in the trace. The table keeps what `check_volumes` needs.
    """
    table = read_table(path, REQUIRED, OPTIONAL, problems)
    if table is None:
        return None
    if not table.rows:
        problems.add(path, "", "has no events")
    trace = _parse(table, known, None)
    # The file's other columns need not stay beside the events.
    table.columns = {name: cells for name, cells in table.columns.items() if name in _IDS}
    return table, trace


def read_batches(path: Path, known: Known, rows: int) -> Iterator[Trace]:
    """Read a Parquet trace in parts of `rows` events. Raises BadInput with the problems of a part.

    Times count from the start of the first part. The caller must check volumes.
    """
    start, last = None, 0.0
    problems = Problems()
    for number, table in enumerate(tables.read_batches(path, rows, REQUIRED, OPTIONAL, problems)):
        trace = _parse(table, known, start)
        time = trace.events["time"].to_numpy()
        back = np.zeros(len(time), dtype=bool)
        back[:1] = number > 0 and time[:1] < last
        table.flag("time", back, "time {} is before that of the event above it")
        problems.raise_any()
        start, last = trace.start, float(time[-1])
        yield trace


def last_time_s(path: Path, rows: int) -> float:
    """Time of a Parquet trace's last event in seconds; for an invalid trace, any value from 0 on."""
    start, last = None, 0.0
    for table in tables.read_batches(path, rows, ["time"], [], Problems(), ["time"]):
        time, start = _times(table, start)
        last = max(last, float(np.nan_to_num(time[-1:], nan=0.0, posinf=0.0)[0]))
    return last


def _parse(table: Table, known: Known, start: datetime | None) -> Trace:
    """The events of a table; `start`: the trace's start, if the table is not its first part."""
    time, start = _times(table, start)
    event = table.categories("event")
    create = np.asarray(event == "create")
    columns: dict[str, Any] = {
        "time": time,
        "event": event.set_categories(list(EVENTS)),
        "volume_id": _strings(table, "volume_id"),
        "image_id": _strings(table, "image_id"),
        "size_gib": _sizes(table, create),
        "volume_type": table.categories("volume_type"),
        "host": table.categories("host"),
        "project": table.categories("project"),
        "encrypted": table.flags("encrypted"),
        "first_host": table.categories("first_host"),
        "availability_zone": table.categories("availability_zone"),
        "snapshot_id": _strings(table, "snapshot_id"),
    }
    events = pd.DataFrame(columns)
    _check_events(table, events)
    _check_names(table, events, known)
    return Trace(events, start, table.path)


def parse_initial(
    path: Path, known: Known, start: datetime | None, problems: Problems
) -> tuple[Table, pd.DataFrame] | None:
    """Read the volumes and cache entries of time 0 and note problems; None if unreadable.

    Columns: `kind` (category, volume or cache), `volume_id`, `image_id`, `size_gib` (int64), `host`,
    `last_used` (float64 seconds from the start, NaN = none) and `project`.
    """
    table = read_table(path, INITIAL_REQUIRED, INITIAL_OPTIONAL, problems)
    if table is None:
        return None
    kind = table.categories("kind")
    cache, volume = np.asarray(kind == "cache"), np.asarray(kind == "volume")
    frame = empty_initial(table.rows)
    frame["kind"] = kind.set_categories(["volume", "cache"])
    for name in ("volume_id", "image_id"):
        frame[name] = _strings(table, name)
    frame["size_gib"] = _sizes(table, cache | volume)
    frame["host"], frame["project"] = table.categories("host"), table.categories("project")
    frame["last_used"] = _last_used(table, cache, start)
    table.flag("kind", ~(cache | volume), "unknown kind {}: must be volume or cache")
    table.flag("volume_id", volume & _blank(frame["volume_id"]), "a volume needs a volume_id")
    table.flag("image_id", cache & _blank(frame["image_id"]), "a cache entry needs an image_id")
    _check_images(table, frame["image_id"], known)
    if known.hosts is not None:
        table.flag("host", _unlike(frame["host"], set(known.hosts)), "unknown host {}")
    again = np.asarray(frame["volume_id"].duplicated()) & ~_blank(frame["volume_id"])
    table.flag("volume_id", again, "volume {} exists already")
    entries = frame.loc[cache, ["host", "image_id"]].duplicated()
    again = np.zeros(table.rows, dtype=bool)
    again[np.flatnonzero(cache)] = entries
    table.flag("image_id", again, "a second cache entry of image {} on this host")
    return table, frame


def empty_initial(rows: int = 0) -> pd.DataFrame:
    """An initial state in which nothing exists (`rows` blank rows to be filled)."""
    blank = pd.Series([""] * rows, dtype="str")
    return pd.DataFrame(
        {
            "kind": pd.Categorical([None] * rows, ["volume", "cache"]),
            "volume_id": blank,
            "image_id": blank,
            "size_gib": np.zeros(rows, dtype=np.int64),
            "host": blank.astype("category"),
            "last_used": np.full(rows, np.nan),
            "project": blank.astype("category"),
        }
    )


def empty_events() -> pd.DataFrame:
    """The events of a trace that has none."""
    columns: dict[str, Any] = {name: pd.Series([], dtype="str") for name in (*REQUIRED, *OPTIONAL)}
    columns["time"], columns["size_gib"] = np.zeros(0), np.zeros(0, np.int64)
    columns["event"], columns["encrypted"] = pd.Categorical([], list(EVENTS)), np.zeros(0, bool)
    for name in ("volume_type", "host", "project", "first_host", "availability_zone"):
        columns[name] = pd.Categorical([], [])
    return pd.DataFrame(columns)


def check_volumes(table: Table, trace: Trace, initial: pd.DataFrame) -> None:
    """Note creates with a volume id in use, and deletes and uploads of volumes that do not exist."""
    events, (codes, ids) = trace.events, trace.volumes()
    creates, deletes, uploads = (np.flatnonzero(events["event"] == kind) for kind in _OF_VOLUMES)
    made, gone = codes[creates], codes[deletes]
    volume = np.asarray(initial["kind"] == "volume")
    there = initial.loc[volume, "volume_id"]
    blank = _blank(events["volume_id"])

    def mark(rows: npt.NDArray[np.intp]) -> Mask:
        mask = np.zeros(len(events), dtype=bool)
        mask[rows] = True
        return mask & ~blank

    first = _first_rows(made, creates, len(ids), len(events))
    again = first[made] < creates
    table.flag("volume_id", mark(creates[again]), "volume {} is created a second time")
    taken = _known(ids, initial["volume_id"])
    clash = taken[made] & ~again
    table.flag("volume_id", mark(creates[clash]), "volume {} is in the initial state already")
    first[_known(ids, there)] = -1
    never = first[gone] > deletes
    table.flag("volume_id", mark(deletes[never]), "delete of volume {}, which does not exist yet")
    real, rows = gone[~never], deletes[~never]
    twice = _first_rows(real, rows, len(ids), len(events))[real] < rows
    table.flag("volume_id", mark(rows[twice]), "volume {} is deleted a second time")
    last = _first_rows(gone, deletes, len(ids), len(events))
    _check_uploads(table, events, mark, uploads, codes[uploads], first, last)
    cached = np.asarray(events["image_id"].isin(initial.loc[~volume, "image_id"]))
    snapshot_events.check_snapshots(table, events, there)
    made_later = np.asarray(events["event"] == "upload") & cached
    table.flag("image_id", made_later, "upload of image {}, which is cached at the start")


def _first_rows(
    codes: npt.NDArray[np.int32], rows: npt.NDArray[np.intp], count: int, none: int
) -> npt.NDArray[np.intp]:
    """For each of `count` codes the first of its rows, which ascend; `none` without any."""
    first = np.full(count, none)
    first[codes[::-1]] = rows[::-1]  # of those with one code, the one that is written last stays
    return first


def _known(ids: pa.Array, names: pd.Series[str]) -> Mask:
    """Which of the ids are among the names."""
    if names.empty:
        return np.zeros(len(ids), dtype=bool)
    return np.asarray(pc.is_in(ids, value_set=texts(names)))


def _check_uploads(
    table: Table,
    events: pd.DataFrame,
    mark: Callable[[npt.NDArray[np.intp]], Mask],
    uploads: npt.NDArray[np.intp],
    used: npt.NDArray[np.int32],
    first: npt.NDArray[np.intp],
    last: npt.NDArray[np.intp],
) -> None:
    """Note `uploads` (rows) whose volumes `used` (codes) do not exist at that time.

    `first` has the row of each code's create, `last` that of its delete.
    """
    never, gone = first[used] > uploads, last[used] < uploads
    table.flag("volume_id", mark(uploads[never]), "upload of volume {}, which does not exist yet")
    table.flag("volume_id", mark(uploads[gone & ~never]), "upload of volume {}, which is deleted")
    again = np.zeros(len(events), dtype=bool)
    again[uploads] = events["image_id"].iloc[uploads].duplicated().to_numpy()
    table.flag("image_id", again, "image {} is uploaded a second time")


def _check_events(table: Table, events: pd.DataFrame) -> None:
    event = events["event"]
    unknown = ~np.asarray(event.isin(GIVEN))
    table.flag("event", unknown, f"unknown event {{}}: must be one of {', '.join(GIVEN)}")
    blank = _blank(events["volume_id"])
    on_volume = np.asarray(event.isin(list(_OF_VOLUMES)))
    table.flag("volume_id", on_volume & blank, "a create, delete or upload needs a volume_id")
    on_volume = np.asarray(event.isin(list(snapshot_events.KINDS)))
    table.flag("volume_id", on_volume & blank, "a snapshot needs a volume_id")
    blank = _blank(events["image_id"])
    on_image = np.asarray(event.isin(["update_image", "delete_image", "upload", "store_image", "release"]))
    table.flag("image_id", on_image & blank, "an event of an image needs an image_id")


def _check_names(table: Table, events: pd.DataFrame, known: Known) -> None:
    _check_images(table, events["image_id"], known)
    tier, host, first = events["volume_type"], events["host"], events["first_host"]
    create, store = (np.asarray(events["event"] == event) for event in ("create", "store_image"))
    nowhere = store & _blank(host) & _blank(tier)
    table.flag(
        "host", nowhere, "a store_image needs a host, or a volume_type in which the scheduler places it"
    )
    create = create | (store & ~_blank(tier))
    both = create & ~_blank(host) & ~_blank(first)
    table.flag("first_host", both, "first_host {} beside a host, which pins the request: give one of them")
    if known.tiers is not None:
        named = ~_blank(tier) | create
        table.flag("volume_type", named & _unlike(tier, known.tiers), "unknown volume type {}")
    if known.hosts is None:
        return
    for column in ("host", "first_host"):
        strange = ~_blank(events[column]) & _unlike(events[column], set(known.hosts))
        table.flag(column, strange, f"unknown {column} {{}}")
    types = known.hosts.values()
    if any(served is None for served in types):
        return
    of_tier = known.tiers is None or ~_unlike(tier, known.tiers)
    served = frozenset[str]().union(*(served for served in types if served is not None))
    unserved = create & of_tier & _blank(host) & _unlike(tier, served)
    table.flag("volume_type", unserved, "no backend serves volume type {}")
    pairs = {(name, one) for name, served in known.hosts.items() for one in served or ()}
    for column in ("host", "first_host"):
        pool = events[column]
        rows = np.flatnonzero(create & of_tier & ~_unlike(pool, set(known.hosts)))
        wrong = np.zeros(len(events), dtype=bool)
        wrong[rows] = [pair not in pairs for pair in zip(pool.iloc[rows], tier.iloc[rows], strict=True)]
        values = (pool.astype("str") + " for " + tier.astype("str")).tolist() if wrong.any() else None
        table.flag(column, wrong, f"{column} does not serve the volume type: {{}}", values)


def _check_images(table: Table, image: pd.Series[str], known: Known) -> None:
    if known.images is not None:
        table.flag("image_id", ~_blank(image) & _unlike(image, known.images), "unknown image {}")


def _times(table: Table, begun_at: datetime | None) -> tuple[npt.NDArray[np.float64], datetime | None]:
    """Checked seconds from the start (None: the first event's), and the start if the trace has dates."""
    seconds, is_number, dates, is_date = _clock(table, "time")
    table.flag("time", ~is_number & ~is_date, "time {} is neither seconds nor ISO 8601")
    good = np.flatnonzero(is_number | is_date)
    dated = bool(len(good)) and bool(is_date[good[0]])
    other = is_number if dated else is_date
    begun = "ISO 8601" if dated else "seconds"
    table.flag("time", other, f"time {{}}: the trace began with {begun}, use one kind only")
    start = None
    if dated:
        first = dates.iloc[good[0]] if begun_at is None else pd.Timestamp(begun_at)
        seconds = _since(dates, first)
        start = first.floor("us").to_pydatetime()
    used = is_date if dated else is_number
    finite = np.isfinite(seconds)
    table.flag("time", used & ~finite, "time {} is not finite")
    if not dated:
        table.flag("time", used & (seconds < 0), "time {} is negative")
    far = finite & (seconds > MAX_SECONDS)
    table.flag("time", used & far, "time {} is too far from the start")
    rows = np.flatnonzero(used & finite & ~far)
    back = np.zeros(len(seconds), dtype=bool)
    back[rows[1:]] = np.diff(seconds[rows]) < 0
    table.flag("time", back, "time {} is before that of the event above it")
    return seconds, start


def _last_used(table: Table, cache: Mask, start: datetime | None) -> npt.NDArray[np.float64]:
    """Seconds from the trace's start; dates are accepted if the trace has them."""
    seconds, is_number, dates, is_date = _clock(table, "last_used")
    empty = np.asarray(table.numbers("last_used")[2]) & ~is_date
    table.flag("last_used", cache & empty, "a cache entry needs last_used")
    wrong = ~is_number & ~is_date & ~empty
    table.flag("last_used", wrong, "last_used {} is neither seconds nor ISO 8601")
    if start is not None:
        seconds = np.where(is_date, _since(dates, pd.Timestamp(start)), seconds)
    else:
        table.flag("last_used", is_date, "last_used {} is a date, but the trace has seconds")
    far = is_number & ~(np.abs(seconds) <= MAX_SECONDS)
    table.flag("last_used", far, "last_used {} is not finite or too far from the start")
    return seconds


def _clock(table: Table, name: str) -> tuple[npt.NDArray[np.float64], Mask, pd.Series[pd.Timestamp], Mask]:
    dates, is_date = table.dates(name)
    column = table.columns.get(name)
    if column is not None and is_calendar(column.type):
        return np.full(table.rows, np.nan), np.zeros(table.rows, dtype=bool), dates, is_date
    seconds, is_number, _ = table.numbers(name)
    return seconds, is_number, dates, is_date


def _since(dates: pd.Series[pd.Timestamp], start: pd.Timestamp) -> npt.NDArray[np.float64]:
    return np.asarray((dates - start) / pd.Timedelta(seconds=1), dtype=np.float64)


def _sizes(table: Table, needed: Mask) -> npt.NDArray[np.int64]:
    """Whole GiB if needed, 0 elsewhere: the size in a delete has no meaning."""
    values, _, _ = table.numbers("size_gib")
    good = (values > 0) & (values <= MAX_GIB) & (values == np.floor(values))
    table.flag("size_gib", needed & ~good, f"size_gib {{}} is not a whole number, 1 to {MAX_GIB}")
    return np.where(needed & good, values, 0).astype(np.int64)


def _strings(table: Table, name: str) -> pd.Series[str]:
    found = table.text(name) if name in table.columns else None
    if found is None or not pc.sum(pc.binary_length(found)).as_py():
        return blanks(table.rows)
    return text_column(found)


def _blank(names: pd.Series[str]) -> Mask:
    return np.asarray(names == "", dtype=bool)


def _unlike(names: pd.Series[str], known: set[str] | frozenset[str]) -> Mask:
    if isinstance(names.dtype, pd.CategoricalDtype):
        # Few names are asked for, not millions of rows; the code of none is -1, the last one.
        return np.append(~names.cat.categories.isin(list(known)), True)[names.cat.codes.to_numpy()]
    return ~np.asarray(names.isin(list(known)), dtype=bool)


def write_initial(initial: pd.DataFrame, start: datetime | None, path: Path) -> None:
    """Write the initial state (CSV), with dates if its trace has a `start`."""
    frame = initial
    if start is not None:
        step = pd.to_timedelta((frame["last_used"] * 1e6).round(), unit="us")
        frame = frame.assign(last_used=pd.Timestamp(start) + step)
    write_csv(frame, path)


def write_trace(trace: Trace, path: str | os.PathLike[str], parquet: bool | None = None) -> None:
    """Write a trace as CSV, or as `parquet` (None: if that is the suffix); `read_trace` reads it back.

    A trace with dates is written with dates in whole microseconds; the first event is at `start`. Optional
    columns without values are left out. The file is written in one step.
    """
    path = Path(path)
    if parquet is None:
        parquet = path.suffix.lower() == ".parquet"
    frame = trace.events.copy()
    if trace.start is not None:
        step = pd.to_timedelta((frame["time"] * 1e6).round().astype("int64"), unit="us")
        frame["time"] = pd.Timestamp(trace.start) + step
    for name in OPTIONAL:
        if not frame[name].astype(bool).any():
            frame = frame.drop(columns=name)
    with beside(path) as (new,):
        if parquet:
            frame.to_parquet(new, index=False)
            return
        returns = any(frame[name].str.contains("\r").any() for name in _TEXT if name in frame)
        write_csv(
            _as_text(frame),
            new,
            # Python's csv leaves a lone carriage return unquoted unless told to quote all text.
            quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL,
        )


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    text = frame.assign(size_gib=frame["size_gib"].astype("str").where(frame["size_gib"] > 0, ""))
    if "encrypted" in text:
        text["encrypted"] = np.where(text["encrypted"], "true", "")
    if isinstance(text["time"].dtype, pd.DatetimeTZDtype):
        text["time"] = text["time"].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return text
