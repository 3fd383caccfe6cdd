"""Tables from CSV or Parquet files, as columns that know the place of each row in the file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from sim.inputs.problems import SHOWN, Problems, quoted

Mask = npt.NDArray[np.bool_]

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NOT_FINITE = r"(?i)^[+-]?(inf|infinity|nan)$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0", "")
csv.field_size_limit(2**31 - 1)  # a cell may be longer than the 131,072 characters that Python's csv allows
MOST_BYTES = 4 * 2**30  # of a text file
# Columns that pandas adds to a Parquet file for an index.
_PANDAS_INDEX = "__index_level_"


def read_bytes(path: Path, problems: Problems) -> bytes | None:
    """The bytes of a UTF-8 text file without its BOM; None, with the problem noted, if unusable.

    What may never end (a device, a pipe) is not a file, and a file has at most MOST_BYTES.
    """
    try:
        if path.exists() and not path.is_file():
            problems.add(path, "", "is not a file")
            return None
        if path.stat().st_size > MOST_BYTES:
            problems.add(path, "", f"is larger than {MOST_BYTES >> 30} GiB: write a trace of that size as Parquet")
            return None
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        problems.add(path, "", f"cannot be read: {getattr(error, 'strerror', None) or error}")
        return None
    data = data.removeprefix(b"\xef\xbb\xbf")
    bad = data.find(b"\0")
    what = "NUL byte"
    if bad < 0:
        try:
            data.decode()
        except UnicodeDecodeError as error:
            bad, what = error.start, "invalid UTF-8"
    if bad < 0:
        return data
    problems.add(path, f"line {len(data[: bad + 1].splitlines())}", what)
    return None


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
            value = cells[int(row)].as_py() if values is None else values[row]
            shown = quoted("" if value is None else value)
            self.problems.add(self.path, line, what.format(shown), kind)
        self.problems.add_uncounted(self.path, kind, max(0, len(rows) - SHOWN))

    def text(self, name: str) -> pa.Array:
        """A column as strings; null is the same as empty."""
        column = self.columns.get(name)
        if column is None:
            return pa.array([""] * self.rows, pa.string())
        whole = pa.types.is_integer(column.type) or pa.types.is_null(column.type)
        if not (whole or _is_text(column.type)):
            self._unusable(name, column)
            return pa.array([""] * self.rows, pa.string())
        return pc.fill_null(pc.cast(column, pa.string()), "").combine_chunks()

    def categories(self, name: str) -> pd.Categorical:
        """A text column with few different values."""
        encoded = pc.dictionary_encode(self.text(name))
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
            times = pd.to_datetime(column.to_pandas(), errors="coerce", utc=True)
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
        if column is not None and pa.types.is_boolean(column.type):
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
    """Read a Parquet file (or some columns) as tables of `rows` rows; one of them bounds the memory."""
    first = 0
    for batch in parquet_batches(path, rows, columns):
        table = _parquet_table(path, pa.Table.from_batches([batch]), first, problems)
        if first == 0:
            _check_columns(table, required, optional)
        first += table.rows
        yield table


def parquet_batches(path: Path, rows: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """A Parquet file (or some columns of it) in parts of `rows` rows."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False) as file:  # a buffer would keep everything that was read
        yield from file.iter_batches(batch_size=rows, columns=columns)


def count_rows(path: Path) -> int:
    """The rows of a Parquet file; 0 for a file that cannot be read, which its reader will report."""
    import pyarrow.parquet as pq

    if path.suffix.lower() != ".parquet":
        return 0
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return 0


def csv_records(path: Path, problems: Problems) -> list[tuple[str, dict[str, str]]]:
    """The rows of a CSV file with any columns: the line of each, and its cells by column.

    Rows of another length than the header are problems, and left out.
    """
    data = read_bytes(path, problems)
    if data is None or not _quotes_close(path, data, problems):
        return []
    rows = iter(_csv_rows(data))
    _, header = next(rows, (1, []))
    if not _unique(path, header, problems):
        return []
    _tell_wrong_lengths(path, data, len(header), problems)
    return [
        (f"line {line}", dict(zip(header, row, strict=True))) for line, row in rows if len(row) == len(header)
    ]


def _check_columns(table: Table, required: Iterable[str], optional: Iterable[str]) -> None:
    path, problems = table.path, table.problems
    lacking = [name for name in required if name not in table.columns]
    for name in lacking:
        problems.add(path, "", f"column {name!r} is missing")
    for name in set(table.columns) - {*required, *optional}:
        if not name.startswith(_PANDAS_INDEX):
            problems.add(path, "", f"unknown column {quoted(name)}")


def _unique(path: Path, names: Sequence[str], problems: Problems) -> bool:
    repeated = sorted({name for name in names if names.count(name) > 1})
    for name in repeated:
        problems.add(path, "", f"column {quoted(name)} is given {names.count(name)} times")
    return not repeated


def _read_csv(path: Path, problems: Problems) -> Table | None:
    data = read_bytes(path, problems)
    if data is None:
        return None
    if b'"' in data and not _quotes_close(path, data, problems):
        return None
    header = next((row for _, row in _csv_rows(data)), None)
    if header is None:
        problems.add(path, "", "is empty: no header line")
        return None
    if not _unique(path, header, problems):
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
        _tell_wrong_lengths(path, data, cells, problems)
    columns = {name: read[name].slice(1) for name in header}
    return Table(path, problems, columns, read.num_rows - 1, lambda rows: _lines(data, cells, rows))


def _csv_rows(data: bytes) -> Iterable[tuple[int, list[str]]]:
    """Every row that is not empty, with the number of its first line."""
    reader = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    line = 1
    for row in reader:
        if row:
            yield line, row
        line = reader.line_num + 1


def _quotes_close(path: Path, data: bytes, problems: Problems) -> bool:
    """Whether quotes follow the rules of CSV; pyarrow would accept any use of them."""
    reader = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    try:
        for _ in reader:
            pass
    except csv.Error as error:
        problems.add(path, f"line {reader.line_num}", f"is not CSV: {error}")
        return False
    return True


def _tell_wrong_lengths(path: Path, data: bytes, cells: int, problems: Problems) -> None:
    for line, row in _csv_rows(data):
        if len(row) != cells:
            what = f"{len(row)} cells where the header has {cells}"
            problems.add(path, f"line {line}", what, "not as many cells as the header")


def _lines(data: bytes, cells: int, rows: npt.NDArray[np.intp]) -> list[str]:
    """The lines of rows (without the header and rows of a wrong length); only for problems."""
    good = (line for line, row in _csv_rows(data) if len(row) == cells)
    wanted = set(rows.tolist())
    upto = islice(good, 1, max(wanted, default=-1) + 2)
    return [f"line {line}" for row, line in enumerate(upto) if row in wanted]


def _read_parquet(path: Path, problems: Problems) -> Table | None:
    import pyarrow.parquet as pq  # slow to import, and most scenarios have CSV

    if not path.is_file():
        read_bytes(path, problems)
        return None
    try:
        read = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        problems.add(path, "", f"cannot be read as Parquet: {str(error).splitlines()[0]}")
        return None
    if not _unique(path, read.column_names, problems):
        return None
    return _parquet_table(path, read, 0, problems)


def _parquet_table(path: Path, read: pa.Table, first: int, problems: Problems) -> Table:
    """A table of rows of a Parquet file that has `first` rows before them."""
    columns = {name: _plain(read[name]) for name in read.column_names}
    return Table(
        path, problems, columns, read.num_rows, lambda rows: [f"row {first + row + 1}" for row in rows]
    )


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column.cast(pa.string()) if str(column.type) == "string_view" else column
