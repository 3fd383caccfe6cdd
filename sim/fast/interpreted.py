"""The state of a run as plain Python gets it, with NUMBA_DISABLE_JIT=1: to step through engine `fast`.

Numba gives a function the memory itself: `r = s.volumes[v]` is a reference, so that `r.phase = X` writes
into the array, and what it reads are machine numbers. NumPy's own records copy, and its scalars are slow and
warn where Numba does not; so Python gets memoryviews, whose elements are Python's numbers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from sim.fast.state import Array, State

Place = int | tuple[int, int]


class Record:
    """One element of an array of records: reads from the array and writes into it.

    `at` is where it lies, `records` the array, `columns` have its fields in their order.
    """

    __slots__ = ("at", "columns", "records")
    fields: tuple[str, ...] = ()

    def __init__(self, records: Array, columns: tuple[memoryview, ...], at: Place) -> None:
        self.records, self.columns, self.at = records, columns, at

    def __repr__(self) -> str:
        return f"[{self.at}] " + ", ".join(f"{field}={getattr(self, field)}" for field in self.fields)


class Records:
    """An array of records, whose elements are references."""

    def __init__(self, records: Array) -> None:
        self.records = records
        self.columns = tuple(records[name].data for name in records.dtype.names or ())
        self.type = record_type(records.dtype)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, at: Place) -> Record:
        return self.type(self.records, self.columns, at)

    def __setitem__(self, at: Place, record: Record) -> None:
        self.records[at] = record.records[record.at]


@cache
def record_type(of: np.dtype[Any]) -> type[Record]:
    """The type of records with these fields: other names are errors."""

    def field(column: int) -> property:
        def get(self: Record) -> Any:
            return self.columns[column][self.at]

        def put(self: Record, value: Any) -> None:
            self.columns[column][self.at] = value

        return property(get, put)

    names = of.names or ()
    fields = {name: field(column) for column, name in enumerate(names)}
    return type("Record", (Record,), {"__slots__": (), "fields": names, **fields})


def viewed(s: State) -> State:
    """The same state over the same memory, as the functions of engine `fast` use it."""
    return State(*(Records(array) if array.dtype.names else array.data for array in s))  # type: ignore[arg-type]


def wrapped(x: int) -> int:
    """A whole number as int64 has it after an overflow."""
    return (x + 2**63) % 2**64 - 2**63
