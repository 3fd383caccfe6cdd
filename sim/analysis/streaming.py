"""Traces larger than memory: the run reads events and writes results in parts.

The number of live volumes, of images and of unfinished creates bounds the memory. The results are those of a
run in memory, with two differences: an id may be used again once its volume is deleted, and seconds are added
up in parts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sim.analysis.create_seconds import create_seconds, together
from sim.analysis.metrics import (
    of_tier,
    percentiles_of_many,
    pool_counts,
    pools_table_of,
    summary_of,
    tally,
)
from sim.fast import state
from sim.fast.build import build, exists, records_of
from sim.fast.engine import (
    cache_events_of,
    cache_of,
    directories_of,
    links_of,
    most_locations,
    nodes_of,
    room,
    room_for,
    space_of,
    tables_of,
    usage_of,
)
from sim.fast.jit import table_of
from sim.fast.kernel import MORE_EVENTS, MORE_ROOM, OVER, advance
from sim.fast.names import Names
from sim.fast.state import NONE, State
from sim.fast.tenants import with_tenants
from sim.inputs import tables
from sim.inputs.cells import plain_series, write_csv
from sim.inputs.problems import BadInput, Problems
from sim.inputs.scenario import Case
from sim.inputs.snapshot_events import KINDS
from sim.inputs.strategies import STRATEGIES
from sim.inputs.tables import parquet_batches
from sim.inputs.trace import last_time_s, read_batches
from sim.model.initial import place
from sim.model.records import ASKED, uploads_table
from sim.model.usage import ALL, UsageMeter, instants

BATCH = 500_000  # events of the trace in memory
BUDGET = 1_000_000  # events between two checks of Python's signals and progress


@dataclass(frozen=True)
class Streamed:
    """The results of a run on a trace larger than memory.

    `requests` and `cache_events` are paths of the files written. `seconds` is the table of `create_seconds`.
    """

    requests: Path
    others: Path
    cache_events: Path
    cache: pd.DataFrame
    uploads: pd.DataFrame
    pools: pd.DataFrame
    summary: pd.DataFrame
    space: pd.DataFrame
    nodes: pd.DataFrame
    directories: pd.DataFrame
    links: pd.DataFrame
    seconds: pd.DataFrame
    creates: int
    engine_s: float


def stream(
    case: Case,
    strategy: str,
    folder: Path,
    fmt: str,
    progress: Callable[[int], None] | None = None,
    batch: int = BATCH,
) -> Streamed:
    """Run a case that was loaded without its events; write its long tables into `folder`.

    Raises BadInput for problems in a part of the trace, or if the initial volumes do not fit.
    """
    if case.scenario.what_if.eviction == "belady":
        raise BadInput([f"{case.path}: what_if.eviction: belady needs the whole trace in memory"])
    if case.scenario.what_if.prefetch:
        raise BadInput([f"{case.path}: what_if.prefetch: needs the whole trace in memory"])
    _, placed = place(case, STRATEGIES[strategy], UsageMeter(lambda: 0.0, [], []), 0)
    names, volumes = Names(case), Volumes(case.trace.path)
    codes = [volumes.new(volume.volume_id) if volume.kind == "user" else NONE for volume in placed]
    trace = names.events(case.trace.events, np.zeros(0, np.int64))
    edges = instants(last_time_s(case.trace.path, batch))
    s = build(case, STRATEGIES[strategy], names, trace, len(placed), batch, edges)
    s.options[0]["schedules"] = _schedules(case.trace.path, batch)
    s.world[0]["report_at"] = 0.0 if s.options[0]["schedules"] else np.inf
    s = room_for(s, len(placed))
    exists(s, records_of(names, placed, codes, case.scenario.cinder.internal_tenant_owns_store))
    with Output(case, names, folder, fmt) as output:
        run = _Run(case, names, s, volumes, output)
        engine_s = run.play(read_batches(case.trace.path, case.known, batch), progress)
        output.write(run.s)
        usage = usage_of(run.s, names, max(run.until, output.last_end))
    tallies = output.tallies
    percentiles = {
        name: percentiles_of_many(
            lambda name=name: output.seconds(None if name == ALL else name),  # type: ignore[misc]
            int(counted["creates"] - counted["errors"]),
        )
        for name, counted in tallies.items()
    }
    return Streamed(
        requests=output.requests.path,
        others=output.others.path,
        cache_events=output.cache_events.path,
        cache=cache_of(run.s, names),
        uploads=uploads_table([]),
        pools=pools_table_of(output.pools, usage, case),
        summary=summary_of(tallies, percentiles, usage, case, strategy),
        space=space_of(run.s, names),
        nodes=nodes_of(run.s, names, case, max(run.until, output.last_end)),
        directories=directories_of(run.s, names, case),
        links=links_of(run.s, case, max(run.until, output.last_end)),
        seconds=output.steps,
        creates=int(tallies[ALL]["creates"]),
        engine_s=engine_s,
    )


def checked_in_parts(case: Case, batch: int = BATCH) -> tuple[int, int]:
    """The events, and the creates from an image, of a trace that stays on disk.

    Raises BadInput with the problems of its first bad part.
    """
    volumes = Volumes(case.trace.path, uploads=True)
    for volume_id in case.initial.loc[case.initial["kind"] == "volume", "volume_id"]:
        volumes.new(volume_id)
    count = creates = 0
    for part in read_batches(case.trace.path, case.known, batch):
        events = part.events
        volumes.codes(events, count)
        count += len(events)
        creates += int(((events["event"] == "create") & (events["image_id"] != "")).sum())
    return count, creates


def _schedules(path: Path, batch: int) -> bool:
    """Whether any create leaves its host to the scheduler. If none does, backends need no reports."""
    columns = ["event", "host"]
    return any(
        pc.any(pc.and_(pc.equal(part.text("event"), "create"), pc.equal(part.text("host"), ""))).as_py()
        for part in tables.read_batches(path, batch, columns, [], Problems(), columns)
    )


class Volumes:
    """Numbers for the volumes of a trace. A number becomes free when its volume is deleted.

    `uploads`: whether the trace may have uploads, as one that is only checked may.
    """

    def __init__(self, path: Path, uploads: bool = False) -> None:
        self._path, self._uploads = path, uploads
        self._live: dict[str, int] = {}
        self._free: list[int] = []
        self.most = 0  # the most numbers in use at once

    def new(self, volume_id: str) -> int:
        """A number for a volume."""
        if self._free:
            number = self._free.pop()
        else:
            number = self.most
            self.most += 1
        self._live[volume_id] = number
        return number

    def codes(self, events: pd.DataFrame, happened: int) -> npt.NDArray[np.int64]:
        """The number of each event's volume. Raises BadInput for an id in use, or a missing volume."""
        problems = Problems()
        codes = np.zeros(len(events), np.int64)
        rows = zip(events["event"].tolist(), events["volume_id"].tolist(), strict=True)
        for at, (event, volume_id) in enumerate(rows):
            if event == "create":
                if volume_id in self._live:
                    problems.add(self._path, f"row {happened + at + 1}", f"volume {volume_id} exists already")
                codes[at] = self.new(volume_id)
            elif event == "delete":
                code = self._live.pop(volume_id, None)
                if code is None:
                    what = f"delete of volume {volume_id}, which does not exist"
                    problems.add(self._path, f"row {happened + at + 1}", what)
                    continue
                codes[at] = code
                self._free.append(code)
            elif event in ("upload", "store_image", *KINDS):
                what = f"{event}: needs a trace that fits in memory"
                problems.add(self._path, f"row {happened + at + 1}", what)
        problems.raise_any()
        return codes


class _Run:
    """A run in progress: its state, and the creates whose rows are not written yet."""

    def __init__(self, case: Case, names: Names, s: State, volumes: Volumes, output: Output) -> None:
        self.s = s
        self.until = 0.0
        self._case, self._names, self._volumes, self._output = case, names, volumes, output

    def play(self, batches: Iterator[Any], progress: Callable[[int], None] | None) -> float:
        """Run the trace to its end. Returns the seconds in compiled code."""
        table = table_of(self.s)
        locations = most_locations(self.s)
        advance(table, True, 0, locations)  # compiles, or loads the compiled code
        engine_s, why, more = 0.0, MORE_EVENTS, True
        while why != OVER:
            if why == MORE_EVENTS:
                more = self._read(batches)
            elif why == MORE_ROOM:
                if 2 * self.s.world[0]["cache_events"] > BATCH or _full(self.s):
                    self._output.write(self.s)
                self.s = _wider(room(self.s, locations))
            table = table_of(self.s)
            since = time.perf_counter()
            why = advance(table, more, BUDGET, locations)
            engine_s += time.perf_counter() - since
            if progress:
                progress(int(self.s.world[0]["happened"]))
        if self.s.world[0]["under_way"]:
            raise RuntimeError(f"{self.s.world[0]['under_way']} creates never ended")
        return engine_s

    def _read(self, batches: Iterator[Any]) -> bool:
        """Read the next part of the trace; return whether there may be another."""
        stretch = next(batches, None)
        if stretch is None:
            return False
        self._output.write(self.s)
        events = stretch.events
        codes = self._volumes.codes(events, int(self.s.world[0]["happened"]))
        trace = self._names.events(events, codes)
        known = np.full(max(0, self._volumes.most - len(self.s.by_code)), NONE, np.int64)
        self.s = self.s._replace(by_code=np.append(self.s.by_code, known), **trace)
        self.s = with_tenants(self.s, self._case.scenario, self._names.tenants)
        self.s.world[0]["position"] = 0
        self.until = float(events["time"].iloc[-1])
        self._output.ask(events.loc[trace["trace_event"] == state.CREATE, list(ASKED)])
        return True


def _full(s: State) -> bool:
    """Whether there is no room for the row of another create."""
    return bool(s.world[0]["begun"] - s.world[0]["flushed"] == len(s.rows))


def _wider(s: State) -> State:
    """The same state, with twice the rows if creates under way fill them."""
    w, count = s.world[0], len(s.rows)
    if not _full(s):
        return s
    rows = np.zeros(2 * count, state.ROWS)
    kept = np.arange(w["flushed"], w["begun"])
    rows[kept & (2 * count - 1)] = s.rows[kept & (count - 1)]
    return s._replace(rows=rows)


class Output:
    """The tables that grow with the trace: rows are written and counted as creates end."""

    def __init__(self, case: Case, names: Names, folder: Path, fmt: str) -> None:
        self.requests = _File(folder / f".requests.{fmt}")
        self.others = _File(folder / f".others.{fmt}")
        self.cache_events = _File(folder / f".cache_events.{fmt}")
        self.last_end = 0.0
        none = pd.DataFrame({name: pd.Series(dtype="str") for name in ASKED})
        none = none.astype({"size_gib": "int64", "time": "float64"})
        self._asked = none  # creates whose rows are not written yet
        self._case, self._names = case, names
        self._first = 0  # the number of the first of these creates
        empty = tables_of(np.zeros(0, state.ROWS), case, names, none)
        self.requests.add(empty[0])
        self.others.add(empty[1])
        self.tallies = {name: self._tally(*empty) for name in (*case.scenario.tiers, ALL)}
        self.pools = pool_counts(*empty, case)
        self.steps = create_seconds(empty[0])

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self.requests, self.others, self.cache_events):
            file.close()
            if kind is not None:
                file.path.unlink(missing_ok=True)

    def ask(self, asked: pd.DataFrame) -> None:
        """Add coming creates, in the order of their rows."""
        self._asked = pd.concat([self._asked, asked], ignore_index=True)

    def write(self, s: State) -> None:
        """Write the events of the cache, and the rows of creates before the first that has not ended."""
        w = s.world[0]
        ids = self._asked["volume_id"]
        self.cache_events.add(cache_events_of(s, self._names, ids, self._first))
        w["cache_events"] = 0
        rows = s.rows[np.arange(w["flushed"], w["begun"]) & (len(s.rows) - 1)]
        under_way = np.flatnonzero(~rows["done"])
        over = int(under_way[0]) if len(under_way) else len(rows)
        if not over:
            return
        requests, others = tables_of(
            rows[:over], self._case, self._names, self._asked.iloc[:over].reset_index(drop=True)
        )
        self._asked = self._asked.iloc[over:].reset_index(drop=True)
        self._first += over
        w["flushed"] += over
        self.last_end = max(self.last_end, float(rows["end"][:over].max()))
        self.requests.add(requests)
        self.others.add(others)
        self.pools += pool_counts(requests, others, self._case)
        self.steps = together(self.steps, create_seconds(requests))
        for name in self.tallies:
            self.tallies[name] += self._tally(of_tier(requests, name), of_tier(others, name))

    def seconds(self, tier: str | None) -> Iterator[npt.NDArray[np.float64]]:
        """The seconds of the successful creates (of a tier), read back in parts."""
        for part in self.requests.parts(["volume_type", "time", "end", "status"]):
            done = part["status"] == "available"
            chosen = part[done if tier is None else done & (part["volume_type"] == tier)]
            yield (chosen["end"] - chosen["time"]).to_numpy(float)

    def _tally(self, requests: pd.DataFrame, others: pd.DataFrame) -> pd.Series[float]:
        return tally(requests, others, self._case.images, self._case.scenario.boot_timeout_s)


class _File:
    """A table written in parts, as CSV or Parquet by its suffix."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begun = False
        self._writer: pq.ParquetWriter | None = None

    def add(self, part: pd.DataFrame) -> None:
        """Append rows."""
        if self.path.suffix == ".csv":
            with self.path.open("a" if self._begun else "w", encoding="utf-8", newline="") as file:
                write_csv(part, file, header=not self._begun)
        else:
            rows = pa.Table.from_pandas(part, preserve_index=False)
            if self._writer is None:
                self._writer = pq.ParquetWriter(self.path, rows.schema)
            self._writer.write_table(rows)
        self._begun = True

    def parts(self, columns: list[str]) -> Iterator[pd.DataFrame]:
        """Read some columns back, in parts."""
        if self.path.suffix == ".csv":
            for part in pd.read_csv(self.path, usecols=columns, chunksize=BATCH, keep_default_na=False):
                yield part.apply(plain_series)
            return
        for batch in parquet_batches(self.path, BATCH, columns):
            yield batch.to_pandas()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
