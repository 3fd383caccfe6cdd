"""Tables from CSV or Parquet files, as columns that know the place of each row in the file."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from sim.inputs.cells import plain_texts
from sim.inputs.memory import shortage
from sim.inputs.problems import SHOWN, Problems, quoted
from sim.inputs.textfile import csv_rows, lines_of, quotes_close, read_bytes, tell_wrong_lengths, unique

if TYPE_CHECKING:
    import pyarrow.parquet as pq

Mask = npt.NDArray[np.bool_]

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NOT_FINITE = r"(?i)^[+-]?(inf|infinity|nan)$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# The years 1 to 9999, as Python's dates have them, in microseconds from 1970.
_FIRST_US, _LAST_US = -62_135_596_800 * 10**6, 253_402_300_800 * 10**6
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0", "")
# Columns that pandas adds to a Parquet file for an index.
_PANDAS_INDEX = "__index_level_"


@dataclass
class Table:
    """Rows of a file. Cells keep the file's types (CSV: text) until a method converts them.

    `line_of` maps row numbers in ascending order to their lines in the file. A missing column reads as empty,
    and `flag` reports nothing about it: the reader has already reported it.
    """

    path: Path
    problems: Problems
    columns: dict[str, pa.ChunkedArray]
    rows: int
    line_of: Callable[[npt.NDArray[np.intp]], list[str]]

    def flag(self, column: str, mask: Mask, what: str, values: Sequence[object] | None = None) -> None:
        """A problem for each row of `mask`; `{}` in `what` becomes the cell (or `values[row]`)."""
        rows = np.flatnonzero(mask)
        if column not in self.columns or not len(rows):
            return
        kind = what.replace(" {}", "")
        cells = self.columns[column]
        for row, line in zip(rows[:SHOWN], self.line_of(rows[:SHOWN]), strict=True):
            shown = _shown(cells[int(row)]) if values is None else quoted(values[row])
            self.problems.add(self.path, line, what.format(shown), kind)
        self.problems.add_uncounted(self.path, kind, max(0, len(rows) - SHOWN))

    def text(self, name: str) -> pa.Array:
        """A column as strings; null is the same as empty. Whole numbers are the text of their digits."""
        column = self.columns.get(name)
        if column is None:
            return pa.repeat(pa.scalar("", pa.string()), self.rows)
        if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
            column = _whole(column)
        if not (pa.types.is_integer(column.type) or pa.types.is_null(column.type) or _is_text(column.type)):
            self._unusable(name, column)
            return pa.repeat(pa.scalar("", pa.string()), self.rows)
        text = pc.cast(column, pa.string())
        return (pc.fill_null(text, "") if text.null_count else text).combine_chunks()

    def categories(self, name: str) -> pd.Categorical:
        """A text column with few different values."""
        if name in self.columns:
            encoded = pc.dictionary_encode(self.text(name))
        else:
            encoded = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int8()), self.rows), [""])
        return pd.Categorical.from_codes(
            encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()
        )

    def numbers(self, name: str) -> tuple[npt.NDArray[np.float64], Mask, Mask]:
        """A column as numbers: values (NaN if none), and the masks of number cells and of empty cells.

        `inf` and `nan` count as numbers too; the caller must refuse them.
        """
        column = self.columns.get(name)
        nothing = np.zeros(self.rows, dtype=bool)
        if column is None or pa.types.is_null(column.type):
            return np.full(self.rows, np.nan), nothing, ~nothing
        kind = column.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            values = _floats(pc.cast(column, pa.float64(), safe=False))
            empty = _mask(pc.is_null(column))
            return values, ~empty, empty
        if not _is_text(kind):
            self._unusable(name, column)
            return np.zeros(self.rows), ~nothing, nothing
        text = self.text(name)
        number = pc.or_(pc.match_substring_regex(text, _NUMBER), pc.match_substring_regex(text, _NOT_FINITE))
        plain = pc.if_else(number, text, pa.scalar(None, pa.string()))
        return _floats(pc.cast(plain, pa.float64())), _mask(number), _mask(pc.equal(text, ""))

    def dates(self, name: str) -> tuple[pd.Series[pd.Timestamp], Mask]:
        """A column as UTC times (ISO 8601; without a zone: UTC; NaT if none), and the mask of valid ones."""
        column = self.columns.get(name)
        if column is not None and is_calendar(column.type):
            times = _calendar(column)
        elif column is not None and _is_text(column.type):
            text = self.text(name)
            dated = pc.match_substring_regex(text, _DATE)
            plain = pc.if_else(dated, text, pa.scalar(None, pa.string())).to_pandas()
            times = pd.to_datetime(plain, errors="coerce", utc=True, format="ISO8601")
        else:
            times = pd.Series(pd.NaT, index=range(self.rows), dtype="datetime64[us, UTC]")
        return times, times.notna().to_numpy()

    def flags(self, name: str) -> Mask:
        """A column as booleans: true/yes/1 and false/no/0/empty in any case; others are problems."""
        column = self.columns.get(name)
        if column is None:
            return np.zeros(self.rows, dtype=bool)
        if pa.types.is_boolean(column.type):
            return _mask(pc.fill_null(column, False))
        lower = pc.utf8_lower(self.text(name))
        true = pc.is_in(lower, pa.array(_TRUE))
        known = pc.or_(true, pc.is_in(lower, pa.array(_FALSE)))
        self.flag(name, ~_mask(known), f"{name}: {{}} is not true or false")
        return _mask(true)

    def _unusable(self, name: str, column: pa.ChunkedArray) -> None:
        what = f"column {name!r}: cannot use values of type {column.type}"
        self.problems.add(self.path, "", what)


def is_calendar(kind: pa.DataType) -> bool:
    """Whether a column's type is one of dates or instants."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _shown(cell: pa.Scalar) -> str:
    """A cell as a problem shows it; some dates and zones have no value in Python."""
    try:
        value = cell.as_py()
    except (ValueError, OverflowError, KeyError):
        return f"of type {cell.type}, out of range"
    return quoted("" if value is None else value)


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Floats or decimals as integers if all are whole: so pandas writes integers with nulls."""
    try:
        return pc.cast(column, pa.int64())
    except pa.ArrowInvalid:
        return column


def _calendar(column: pa.ChunkedArray) -> pd.Series[pd.Timestamp]:
    """Dates or instants as UTC times in microseconds; NaT if none, or outside of the years 1 to 9999."""
    kind = column.type
    days = pa.types.is_date32(kind)
    counts = column.cast(pa.int32() if days else pa.int64()).cast(pa.int64())
    many = _PER_SECOND["ms" if pa.types.is_date64(kind) else getattr(kind, "unit", "s")]
    whole = _integers(counts)
    per_us, us_each = (
        max(1, many // _PER_SECOND["us"]),
        max(1, _PER_SECOND["us"] // many) * (86_400 if days else 1),
    )
    whole = whole // per_us
    known = (whole >= _FIRST_US // us_each) & (whole < _LAST_US // us_each) & ~_mask(pc.is_null(column))
    us = np.where(known, whole, 0) * us_each
    times = np.where(known, us.astype("M8[us]"), np.datetime64("NaT", "us"))
    return pd.Series(pd.DatetimeIndex(times).tz_localize("UTC"))


def _integers(values: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    return np.asarray(pc.fill_null(values, 0).to_numpy(), dtype=np.int64)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _mask(values: pa.Array | pa.ChunkedArray) -> Mask:
    return np.asarray(values.to_pandas(), dtype=bool)


def _floats(values: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.float64]:
    return np.asarray(values.to_pandas(), dtype=np.float64)


def read_table(
    path: Path, required: Iterable[str], optional: Iterable[str], problems: Problems
) -> Table | None:
    """Read a CSV or (suffix `.parquet`) Parquet file; None if there is nothing to check.

    Columns come in any order. Missing, unknown and repeated ones are problems. So are CSV rows of another
    length; these are left out.
    """
    reader = _read_parquet if path.suffix.lower() == ".parquet" else _read_csv
    table = reader(path, problems)
    if table is not None:
        _check_columns(table, required, optional)
    return table


def read_batches(
    path: Path,
    rows: int,
    required: Iterable[str],
    optional: Iterable[str],
    problems: Problems,
    columns: list[str] | None = None,
) -> Iterator[Table]:
    """Read a Parquet file (or some columns) as tables of `rows` rows; one of them bounds the memory.

    Raises BadInput if the file is damaged.
    """
    first = 0
    for batch in parquet_batches(path, rows, columns):
        table = _parquet_table(path, pa.Table.from_batches([batch]), first, problems)
        if table is None:
            problems.raise_any()
            return
        if first == 0:
            _check_columns(table, required, optional)
        first += table.rows
        yield table


def parquet_batches(path: Path, rows: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """A Parquet file (or some columns of it) in parts of `rows` rows. Raises BadInput if it is damaged."""
    problems = Problems()
    # A buffer would keep everything that was read.
    with _damage_noted(path, problems), _parquet(path, problems, pre_buffer=False) as file:
        if file is not None:
            yield from file.iter_batches(batch_size=rows, columns=columns)
    problems.raise_any()


def count_rows(path: Path) -> int:
    """The rows of a Parquet file; 0 for a file that cannot be read, which its reader will report."""
    if path.suffix.lower() != ".parquet":
        return 0
    problems = Problems()
    with _damage_noted(path, problems), _parquet(path, problems) as file:
        if file is not None:
            return int(file.metadata.num_rows)
    return 0


@contextmanager
def _parquet(path: Path, problems: Problems, **options: bool) -> Iterator[pq.ParquetFile | None]:
    """An open Parquet file; None, with the problem noted, if it has no columns that can be told apart."""
    import pyarrow.parquet as pq  # slow to import, and most scenarios have CSV

    if not path.is_file():
        read_bytes(path, problems)
        yield None
        return
    with pq.ParquetFile(path, **options) as file:
        yield file if unique(path, file.schema_arrow.names, problems) else None


@contextmanager
def _damage_noted(path: Path, problems: Problems) -> Iterator[None]:
    """Note what a damaged Parquet file makes of its reader."""
    try:
        yield
    except UnicodeDecodeError:
        problems.add(path, "", "the name of a column is not UTF-8")
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        problems.add(path, "", f"cannot be read as Parquet: {lines[0]}")


def _check_columns(table: Table, required: Iterable[str], optional: Iterable[str]) -> None:
    path, problems = table.path, table.problems
    lacking = [name for name in required if name not in table.columns]
    for name in lacking:
        problems.add(path, "", f"column {name!r} is missing")
    for name in set(table.columns) - {*required, *optional}:
        if not name.startswith(_PANDAS_INDEX):
            problems.add(path, "", f"unknown column {quoted(name)}")


def _read_csv(path: Path, problems: Problems) -> Table | None:
    data = read_bytes(path, problems)
    if data is None:
        return None
    if b'"' in data and not quotes_close(path, data, problems):
        return None
    header = next((row for _, row in csv_rows(data)), None)
    if header is None:
        problems.add(path, "", "is empty: no header line")
        return None
    if not unique(path, header, problems):
        return None
    wrong: list[int] = []

    def skip(row: pa_csv.InvalidRow) -> str:
        wrong.append(row.actual_columns)
        return "skip"

    try:
        # The header is read as a row: so names with quotes or line ends in them need no special care.
        read = pa_csv.read_csv(
            io.BytesIO(data),
            pa_csv.ReadOptions(column_names=header, block_size=1 << 24),
            pa_csv.ParseOptions(newlines_in_values=b'"' in data, invalid_row_handler=skip),
            pa_csv.ConvertOptions(
                column_types={name: pa.string() for name in header}, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        problems.add(path, "", f"cannot be read as CSV: {error}")
        return None
    cells = len(header)
    if wrong:
        tell_wrong_lengths(path, data, cells, problems)
    columns = {name: read[name].slice(1) for name in header}
    if b"'" in data:
        columns = {name: plain_texts(column) for name, column in columns.items()}
    return Table(path, problems, columns, read.num_rows - 1, lambda rows: lines_of(data, cells, rows))


def _read_parquet(path: Path, problems: Problems) -> Table | None:
    with _damage_noted(path, problems), _parquet(path, problems) as file:
        if file is not None:
            if lacking := shortage(file.metadata.num_rows):
                what = "engine fast with --out reads a trace in parts"
                problems.add(path, "", f"{lacking}: {what}")
                return None
            return _parquet_table(path, file.read(), 0, problems)
    return None


def _parquet_table(path: Path, read: pa.Table, first: int, problems: Problems) -> Table | None:
    """A table of rows of a Parquet file that has `first` rows before them; None if its cells are damaged."""
    damaged = [name for name in read.column_names if not _sound(read[name])]
    for name in damaged:
        problems.add(path, f"column {quoted(name)}", "has text that is not UTF-8, or other damage")
    if damaged:
        return None
    columns = {name: _plain(read[name]) for name in read.column_names}
    return Table(
        path, problems, columns, read.num_rows, lambda rows: [f"row {first + row + 1}" for row in rows]
    )


def _sound(column: pa.ChunkedArray) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column without the ways in which Parquet's writers put the same cells: NaN is null, a dictionary's
    words stand at their places, and a column without any value has the type of none."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if str(column.type) == "string_view":
        column = column.cast(pa.string())
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return pa.chunked_array([pa.nulls(len(column))]) if column.null_count == len(column) else column
