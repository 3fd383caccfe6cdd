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
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc

from sim.analysis.adding import Ended
from sim.analysis.metrics import percentiles_of_many, pools_table_of, summary_of
from sim.analysis.streamed_output import TOLD_BY, Output
from sim.analysis.wording import Finding
from sim.fast import state
from sim.fast.build import build, exists, records_of
from sim.fast.engine import (
    cache_of,
    directories_of,
    links_of,
    most_locations,
    nodes_of,
    room,
    room_for,
    space_of,
    usage_of,
)
from sim.fast.jit import table_of
from sim.fast.kernel import MORE_EVENTS, MORE_ROOM, OVER, advance
from sim.fast.names import Names
from sim.fast.state import NONE, State
from sim.fast.tenants import with_tenants
from sim.inputs import tables
from sim.inputs.problems import BadInput, Problems
from sim.inputs.scenario import Case
from sim.inputs.snapshot_events import KINDS
from sim.inputs.strategies import STRATEGIES
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
    `findings`: those that need no whole table in memory (see `sim.analysis.findings.Seen.told`).
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
    findings: list[Finding]
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
    with Output(case, strategy, names, folder, fmt) as output:
        run = _Run(case, names, s, volumes, output)
        engine_s = run.play(read_batches(case.trace.path, case.known, batch), progress)
        output.write(run.s)
        end_s = max(run.until, output.last_end)
        usage = usage_of(run.s, names, end_s)
    tallies = output.tallies
    successes = {name: int(counted["creates"] - counted["errors"]) for name, counted in tallies.items()}
    percentiles = percentiles_of_many(output.create_seconds, successes)
    nodes = nodes_of(run.s, names, case, end_s)
    cache = cache_of(run.s, names)
    ended = Ended(cache, nodes, usage, run.deleted_images, output.waited_p95_s, end_s)
    return Streamed(
        requests=output.requests.path,
        others=output.others.path,
        cache_events=output.cache_events.path,
        cache=cache,
        uploads=uploads_table([]),
        pools=pools_table_of(output.pools, usage, case),
        summary=summary_of(tallies, percentiles, usage, case, strategy),
        space=space_of(run.s, names),
        nodes=nodes,
        directories=directories_of(run.s, names, case),
        links=links_of(run.s, case, end_s),
        seconds=output.steps,
        findings=output.seen.told(ended),
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
        self.deleted_images = set[str]()
        self._case, self._names, self._volumes, self._output = case, names, volumes, output

    def play(self, batches: Iterator[Any], progress: Callable[[int], None] | None) -> float:
        """Run the trace to its end. Returns the seconds in compiled code."""
        table = table_of(self.s)
        locations = most_locations(len(self.s.pools), self.s.trace_event, self.s.trace_image)
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
        known = np.full(max(0, self._volumes.most - len(self.s.by_code)), NONE, np.int32)
        self.s = self.s._replace(by_code=np.append(self.s.by_code, known), **trace)
        self.s = with_tenants(self.s, self._case.scenario, self._names.tenants)
        self.s.world[0]["position"] = 0
        self.until = float(events["time"].iloc[-1])
        self.deleted_images |= set(events.loc[events["event"] == "delete_image", "image_id"].astype(str))
        self._output.ask(events.loc[trace["trace_event"] == state.CREATE, [*ASKED, *TOLD_BY]])
        return True


def _full(s: State) -> bool:
    """Whether there is no room for the row of another create."""
    return bool(s.world[0]["begun"] - s.world[0]["flushed"] == len(s.rows))


def _wider(s: State) -> State:
    """The same state, with twice the rows if creates under way fill them."""
    if not _full(s):
        return s
    kept = np.arange(s.world[0]["flushed"], s.world[0]["begun"])

    def wider(ring: state.Array) -> state.Array:
        longer = np.zeros(2 * len(ring), ring.dtype)
        longer[kept & (len(longer) - 1)] = ring[kept & (len(ring) - 1)]
        return longer

    return s._replace(rows=wider(s.rows), queued=wider(s.queued) if len(s.queued) > 1 else s.queued)
