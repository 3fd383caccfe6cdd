"""Tables of numbers and texts as the bytes that `DataFrame.to_csv` writes, by Arrow in less time.

Floats are Python's repr: the shortest text that reads back as the same number.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sim.inputs.texts import TEXT, named, texts

ROWS = 100_000  # made at once: this bounds the memory
# Between these, Arrow's shortest text of a float is Python's, but for the `.0` of a whole number.
LEAST, BEYOND = 1e-4, 1e10
ODD = r"[\",\r\n]|^['=+\-@\t]"  # in texts that may be written otherwise than they are

Mark = Callable[[str], str]


def plain(table: pd.DataFrame) -> bool:
    """Whether each column has numbers, booleans or texts, and there are at least two.

    pandas writes others: dates, objects of several kinds, and what is alone in its line.
    """
    return len(table.columns) > 1 and all(map(_known, table.dtypes))


def _known(dtype: Any) -> bool:
    if isinstance(dtype, pd.CategoricalDtype):
        return isinstance(dtype.categories.dtype, pd.StringDtype)
    if isinstance(dtype, np.dtype):
        return dtype == np.float64 or dtype.kind in "biu"
    return isinstance(dtype, pd.StringDtype)


def lines(table: pd.DataFrame, mark: Mark, header: bool = True) -> Iterator[bytes]:
    """The lines of a plain table, some at a time. `mark` gives each text as it is to be read."""
    if header:
        yield f"{','.join(_quoted(str(name)) for name in table.columns)}\n".encode()
    for first in range(0, len(table), ROWS):
        part = table.iloc[first : first + ROWS]
        cells = [_cells(part.iloc[:, number], mark) for number in range(len(part.columns))]
        cells[-1] = _joined("\n", cells[-1], pa.scalar("", TEXT))
        yield _joined(",", *cells).buffers()[2].to_pybytes()


def _joined(between: str, *columns: Any) -> pa.Array:
    return pc.binary_join_element_wise(*columns, pa.scalar(between, TEXT))


def _cells(column: pd.Series[Any], mark: Mark) -> pa.Array:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return _named(column.cat.codes.to_numpy(), column.cat.categories, mark)
    if isinstance(column.dtype, pd.StringDtype):
        return _named(*pd.factorize(column), mark)
    values = column.to_numpy()
    if values.dtype.kind == "b":
        return _named(values.astype(np.int8), pd.Index(["False", "True"]), mark)
    return _floats(values) if values.dtype.kind == "f" else pc.cast(pa.array(values), TEXT)


def _named(codes: npt.NDArray[Any], names: pd.Index[Any], mark: Mark) -> pa.Array:
    """The name of each code as it is written; nothing for -1."""
    known = texts(names)
    odd = pc.match_substring_regex(known, ODD)
    if pc.any(odd).as_py():
        written = [_quoted(mark(text)) for text in known.filter(odd).to_pylist()]
        known = pc.replace_with_mask(known, odd, texts(written))
    return named(codes, known)


def _floats(values: npt.NDArray[np.float64]) -> pa.Array:
    size = np.abs(values)
    found = pc.cast(pa.array(values), TEXT)
    whole = (size < BEYOND) & (values == np.floor(values))
    if whole.any():
        found = _joined("", found, named(whole.astype(np.int8), texts(["", ".0"])))
    odd = (values != 0) & ~((size >= LEAST) & (size < BEYOND))  # NaN, too
    if odd.any():
        written = ["" if value != value else repr(value) for value in values[odd].tolist()]
        found = pc.replace_with_mask(found, pa.array(odd), texts(written))
    return found


def _quoted(text: str) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([text, ""])
    return line.getvalue()[: -len(",\n")]
