"""Damaged tables: cells, columns and rows of other kinds, as CSV or as Parquet of any type."""

from __future__ import annotations

import csv
import decimal
import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.fuzz.damage import TOKENS, binaries, texts

Rows = Sequence[dict[str, Any]]
_US = 10**6


def csv_of(rows: Rows) -> bytes:
    """A table as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


@st.composite
def csvs(draw: DrawFn, rows: Rows, written: Sequence[bytes] = ()) -> bytes:
    """Damaged CSV files: cells with other words, columns gone or renamed; then damage to the text."""
    cells = [list(row.values()) for row in rows]
    header: list[Any] = list(rows[0])
    word = st.sampled_from([*TOKENS, *(str(cell).encode() for row in cells for cell in row)])
    for _ in range(draw(st.integers(0, 3))):
        row, column = draw(st.integers(0, len(cells) - 1)), draw(st.integers(0, len(header) - 1))
        cells[row][column] = draw(word).decode("utf-8", "surrogateescape")
    if draw(st.integers(0, 9)) == 9:
        column, new = draw(st.integers(0, len(header) - 1)), draw(st.sampled_from([*header, "x", "", "__x"]))
        header[column] = new
    if draw(st.integers(0, 9)) == 9:
        column = draw(st.integers(0, len(header) - 1))
        for each in (header, *cells):
            del each[column]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=draw(st.sampled_from(["\n", "\r\n"])), escapechar="\\")
    writer.writerows([header, *cells])
    whole = text.getvalue().encode("utf-8", "surrogateescape")
    return draw(texts([whole, *written])) if draw(st.booleans()) else whole


def _raw(words: Sequence[bytes | None], kind: pa.DataType) -> pa.Array:
    """An array of strings whose bytes need not be UTF-8."""
    binary = pa.array(words, pa.binary() if kind == pa.string() else pa.large_binary())
    return pa.Array.from_buffers(kind, len(binary), binary.buffers(), binary.null_count)


# Columns of a type and of values that traces do not have; some of them are what other tools write.
_VALUES: tuple[tuple[pa.DataType, Sequence[Any]], ...] = (
    (pa.null(), [None]),
    (pa.bool_(), [True, False, None]),
    (pa.int8(), [0, 1, -1, None]),
    (pa.int32(), [0, 10, -(2**31), 2**31 - 1, None]),
    (pa.int64(), [0, 10, -(2**63), 2**63 - 1, None]),
    (pa.uint64(), [0, 10, 2**64 - 1, None]),
    (pa.float16(), [1.0, None]),
    (pa.float32(), [0.0, 1.5, float("nan"), None]),
    (pa.float64(), [0.0, 10.0, 1e300, -1.0, float("inf"), float("nan"), 2.0**63, None]),
    (pa.decimal128(38, 9), [decimal.Decimal("10"), decimal.Decimal("1.5"), decimal.Decimal(10**28), None]),
    (pa.decimal256(70, 0), [decimal.Decimal(10**60), decimal.Decimal(7), None]),
    (pa.string(), ["", "x", "10", "1.0", "debian", "v0", "flash-a#p0", "2024-01-01", "\x1b[0m", None]),
    (pa.large_string(), ["", "create", "10", None]),
    (pa.string_view(), ["", "create", "v1", None]),
    (pa.binary(), [b"", b"\xff", b"create", None]),
    (pa.dictionary(pa.int32(), pa.string()), ["create", "", "v0", None]),
    (pa.dictionary(pa.int8(), pa.large_string()), ["create", "x", None]),
    (pa.dictionary(pa.int32(), pa.int64()), [1, 10, None]),
    (pa.date32(), [0, 2**31 - 1, -(2**31), 20_000, None]),
    (pa.date64(), [0, 86_400_000 * 20_000, None]),
    (pa.timestamp("s"), [0, 2**62, -(2**62), 1_700_000_000, None]),
    (pa.timestamp("ms", "UTC"), [0, 1_700_000_000_000, 2**60, None]),
    (pa.timestamp("us", "Europe/Berlin"), [0, 1_700_000_000 * _US, 2**62, None]),
    (pa.timestamp("us", "+25:99"), [0, 1_700_000_000 * _US]),
    (pa.timestamp("us", "No/Where"), [0, 1_700_000_000 * _US]),
    (pa.timestamp("ns"), [0, 2**63 - 1, -(2**63) + 1, None]),
    (pa.time32("s"), [0, 86_399, None]),
    (pa.time64("us"), [0, None]),
    (pa.duration("us"), [0, 10, None]),
    (pa.list_(pa.int64()), [[], [1], None]),
    (pa.list_(pa.string()), [["a"], None]),
    (pa.struct([("a", pa.int64())]), [{"a": 1}, None]),
    (pa.map_(pa.string(), pa.int64()), [[("a", 1)], None]),
)
_NAMES = (
    "",
    "x",
    "host",
    "time",
    "first_host",
    "project",
    "__index_level_0__",
    "a" * 300,
    "\x1b[31m",
    "\u202e",
)
_METADATA = (b"", b"{}", b"[1]", b"\xff", b'{"index_columns": ["x"], "columns": 7}', b'{"pandas_version": 1')


@st.composite
def _column(draw: DrawFn, count: int) -> pa.Array:
    if draw(st.integers(0, 9)) == 9:
        kind = draw(st.sampled_from([pa.string(), pa.large_string()]))
        return _raw(
            draw(st.lists(st.sampled_from([*TOKENS[:40], b"\xff", None]), min_size=count, max_size=count)),
            kind,
        )
    kind, values = draw(st.sampled_from(_VALUES))
    return pa.array(draw(st.lists(st.sampled_from(values), min_size=count, max_size=count)), kind)


def parquet_of(rows: Rows) -> bytes:
    """A table as Parquet."""
    return _bytes(pa.Table.from_pylist(list(rows)))


def _bytes(table: pa.Table, **options: Any) -> bytes:
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, **options)
    return bytes(buffer.getvalue())


@st.composite
def parquets(draw: DrawFn, rows: Rows, written: Sequence[bytes] = ()) -> bytes:
    """Parquet files with columns of odd types and names, odd metadata and layouts; some then damaged."""
    if written and draw(st.integers(0, 3)) == 0:
        return draw(binaries(written))
    table = pa.Table.from_pylist(list(rows))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, table.num_columns - 1))
        name = draw(st.sampled_from(_NAMES)) if draw(st.integers(0, 9)) == 9 else table.column_names[at]
        table = table.set_column(at, name, draw(_column(table.num_rows)))
    if draw(st.integers(0, 9)) == 9:
        table = table.remove_column(draw(st.integers(0, table.num_columns - 1)))
    if draw(st.integers(0, 9)) == 9:
        table = table.slice(0, draw(st.integers(0, 2)))
    if draw(st.integers(0, 9)) == 9:
        table = table.replace_schema_metadata({b"pandas": draw(st.sampled_from(_METADATA))})
    try:
        whole = _bytes(
            table,
            compression=draw(st.sampled_from(["NONE", "SNAPPY", "GZIP", "ZSTD"])),
            row_group_size=draw(st.sampled_from([None, 1, 3])),
            version=draw(st.sampled_from(["1.0", "2.6"])),
            use_dictionary=draw(st.booleans()),
            data_page_version=draw(st.sampled_from(["1.0", "2.0"])),
            allow_truncated_timestamps=True,
        )
    except (pa.ArrowException, ValueError):
        whole = parquet_of(rows)  # Parquet has no such column
    return draw(binaries([whole])) if draw(st.integers(0, 2)) == 0 else whole
