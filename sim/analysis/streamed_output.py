"""What a run whose trace stays on disk writes, counts and sees, part by part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sim.analysis.create_seconds import create_seconds, together
from sim.analysis.findings import Seen
from sim.analysis.metrics import PERCENTILES, of_tier, percentiles_of_many, pool_counts, tally
from sim.analysis.names import among
from sim.fast import state
from sim.fast.engine import cache_events_of, tables_of
from sim.fast.names import Names
from sim.fast.state import State
from sim.inputs.cells import plain_series, write_csv
from sim.inputs.scenario import Case
from sim.inputs.tables import parquet_batches
from sim.inputs.texts import in_texts
from sim.model.records import ASKED, cache_events_table
from sim.model.usage import ALL

PART = 500_000  # rows in memory
# Columns of the trace that findings need, beside ASKED.
TOLD_BY = ("event", "project", "encrypted")


class Output:
    """The tables that grow with the trace: rows are written and counted as creates end."""

    def __init__(self, case: Case, strategy: str, names: Names, folder: Path, fmt: str) -> None:
        self.requests = _File(folder / f".requests.{fmt}")
        self.others = _File(folder / f".others.{fmt}")
        self.cache_events = _File(folder / f".cache_events.{fmt}")
        self.last_end = 0.0
        none = pd.DataFrame({name: pd.Series(dtype="str") for name in (*ASKED, *TOLD_BY)})
        none = none.astype({"size_gib": "int64", "time": "float64", "encrypted": "bool"})
        self._asked = none  # creates whose rows are not written yet
        self._events = cache_events_table({})  # and the events of these
        self.seen = Seen(case, strategy)
        self._case, self._names = case, names
        self._first = 0  # the number of the first of these creates
        empty = self._tables(np.zeros(0, state.ROWS), np.zeros(0, state.QUEUED), none)
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
        noted = s.cache_events[: int(w["cache_events"])]
        events = in_texts(cache_events_of(noted, self._names, ids, self._first))
        self.cache_events.add(events)
        self.seen.happened(events)
        self._events = pd.concat([self._events, events], ignore_index=True)
        w["cache_events"] = 0
        begun = np.arange(w["flushed"], w["begun"])
        rows, queued = s.rows[begun & (len(s.rows) - 1)], s.queued[begun & (len(s.queued) - 1)]
        under_way = np.flatnonzero(~rows["done"])
        over = int(under_way[0]) if len(under_way) else len(rows)
        if not over:
            return
        asked = self._asked.iloc[:over].reset_index(drop=True)
        requests, others = self._tables(rows[:over], queued[:over], asked)
        self._see(requests, others, asked)
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

    def _tables(
        self, rows: state.Array, queued: state.Array, asked: pd.DataFrame
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Requests and others. What parts count is added up: they need the same names as texts."""
        requests, others = tables_of(rows, queued, self._case, self._names, asked)
        return in_texts(requests), in_texts(others)

    def _see(self, requests: pd.DataFrame, others: pd.DataFrame, asked: pd.DataFrame) -> None:
        """Take in creates that ended, with the events that belong to them, or to no create."""
        under_way = among(self._events["volume_id"], self._asked["volume_id"].iloc[len(asked) :])
        self.seen.add(requests, others, self._events[~under_way], asked)
        self.seen.forget(float(asked["time"].iloc[-1]))
        self._events = self._events[under_way]

    def waited_p95_s(self, tier: str, count: int) -> float:
        """See `Ended`."""

        def waits() -> Iterator[dict[str, npt.NDArray[np.float64]]]:
            for part in self.requests.parts(["volume_type", "lock_wait_s"]):
                chosen = (part["lock_wait_s"] > 0) & (part["volume_type"] == tier)
                yield {tier: part.loc[chosen, "lock_wait_s"].to_numpy(float)}

        return percentiles_of_many(waits, {tier: count})[tier][PERCENTILES.index(95)]

    def create_seconds(self) -> Iterator[dict[str, npt.NDArray[np.float64]]]:
        """The seconds of the successful creates by tier, and of all, read back in parts."""
        for part in self.requests.parts(["volume_type", "time", "end", "status"]):
            done = part[part["status"] == "available"]
            seconds = (done["end"] - done["time"]).to_numpy(float)
            of_tier = {tier: seconds[done["volume_type"] == tier] for tier in self._case.scenario.tiers}
            yield of_tier | {ALL: seconds}

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
            for part in pd.read_csv(self.path, usecols=columns, chunksize=PART, keep_default_na=False):
                yield part.apply(plain_series)
            return
        for batch in parquet_batches(self.path, PART, columns):
            yield batch.to_pandas(strings_to_categorical=True)  # each text once

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
