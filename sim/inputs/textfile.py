"""Text files: their bytes, and the rows of CSV, each with its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sim.inputs.problems import Problems, quoted

csv.field_size_limit(2**31 - 1)  # a cell may be longer than the 131,072 characters that Python's csv allows
MOST_BYTES = 4 * 2**30


def read_bytes(path: Path, problems: Problems) -> bytes | None:
    """The bytes of a UTF-8 text file without its BOM; None, with the problem noted, if unusable.

    What may never end (a device, a pipe) is not a file, and a file has at most MOST_BYTES.
    """
    try:
        if path.exists() and not path.is_file():
            problems.add(path, "", "is not a file")
            return None
        if path.stat().st_size > MOST_BYTES:
            problems.add(
                path, "", f"is larger than {MOST_BYTES >> 30} GiB: write a trace of that size as Parquet"
            )
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


def csv_records(path: Path, problems: Problems) -> list[tuple[str, dict[str, str]]]:
    """The rows of a CSV file with any columns: the line of each, and its cells by column.

    Rows of another length than the header are problems, and left out.
    """
    data = read_bytes(path, problems)
    if data is None or not quotes_close(path, data, problems):
        return []
    rows = iter(csv_rows(data))
    _, header = next(rows, (1, []))
    if not unique(path, header, problems):
        return []
    tell_wrong_lengths(path, data, len(header), problems)
    return [
        (f"line {line}", dict(zip(header, row, strict=True))) for line, row in rows if len(row) == len(header)
    ]


def unique(path: Path, names: Sequence[str], problems: Problems) -> bool:
    repeated = sorted({name for name in names if names.count(name) > 1})
    for name in repeated:
        problems.add(path, "", f"column {quoted(name)} is given {names.count(name)} times")
    return not repeated


def csv_rows(data: bytes) -> Iterable[tuple[int, list[str]]]:
    """Every row that is not empty, with the number of its first line."""
    reader = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    line = 1
    for row in reader:
        if row:
            yield line, row
        line = reader.line_num + 1


def quotes_close(path: Path, data: bytes, problems: Problems) -> bool:
    """Whether quotes follow the rules of CSV; pyarrow would accept any use of them."""
    reader = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    try:
        for _ in reader:
            pass
    except csv.Error as error:
        problems.add(path, f"line {reader.line_num}", f"is not CSV: {error}")
        return False
    return True


def tell_wrong_lengths(path: Path, data: bytes, cells: int, problems: Problems) -> None:
    for line, row in csv_rows(data):
        if len(row) != cells:
            what = f"{len(row)} cells where the header has {cells}"
            problems.add(path, f"line {line}", what, "not as many cells as the header")


def lines_of(data: bytes, cells: int, rows: npt.NDArray[np.intp]) -> list[str]:
    """The lines of rows (without the header and rows of a wrong length); only for problems."""
    good = (line for line, row in csv_rows(data) if len(row) == cells)
    wanted = set(rows.tolist())
    upto = islice(good, 1, max(wanted, default=-1) + 2)
    return [f"line {line}" for row, line in enumerate(upto) if row in wanted]
