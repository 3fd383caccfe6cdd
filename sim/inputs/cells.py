"""Cells of CSV files for people: a spreadsheet must not run them.

Excel and its like run a text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return. Such a text is
written with a `'` before it, which they take for the mark of a text. So is one that has such a `'` already.
Readers take one `'` away again. Numbers stay as they are.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sim.inputs import csv_lines

_RUN = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = r"^'('*[=+\-@\t\r])"


def guarded(cell: Any) -> Any:
    """A cell as it is written."""
    return f"'{cell}" if isinstance(cell, str) and _RUN.match(cell) else cell


def guarded_table(table: pd.DataFrame) -> pd.DataFrame:
    """A table as it is written: the texts of all columns that are not numbers, dates or booleans."""
    found = table.copy(deep=False)
    for number, dtype in enumerate(table.dtypes):
        column = table.iloc[:, number]
        if isinstance(dtype, pd.CategoricalDtype):
            names = list(dtype.categories)
            if any(guarded(name) != name for name in names):
                found.isetitem(number, column.cat.rename_categories([guarded(name) for name in names]).array)
        elif isinstance(dtype, pd.StringDtype):
            if (run := column.str.match(_RUN.pattern).fillna(False).to_numpy(bool)).any():
                found.isetitem(number, column.where(~run, "'" + column).array)
        elif pd.api.types.is_object_dtype(dtype):
            found.isetitem(number, column.map(guarded).array)
    return found


def write_csv(table: pd.DataFrame, file: Path | IO[str], **options: Any) -> None:
    """Write a table as CSV without its index. `options` are those of `DataFrame.to_csv`."""
    if options.keys() <= {"header"} and csv_lines.plain(table):
        made = csv_lines.lines(table, guarded, **options)
        if isinstance(file, Path):
            with file.open("wb") as binary:
                binary.writelines(made)
        else:
            file.writelines(part.decode() for part in made)
        return
    guarded_table(table).to_csv(file, index=False, lineterminator="\n", encoding="utf-8", **options)


def csv_text(table: pd.DataFrame, **options: Any) -> str:
    """The text that `write_csv` writes."""
    text = io.StringIO()
    write_csv(table, text, **options)
    return text.getvalue()


def plain_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of texts as it was before it was written."""
    return pc.replace_substring_regex(column, _GUARDED, r"\1", max_replacements=1)


def plain_series(column: pd.Series[Any]) -> pd.Series[Any]:
    """A column of texts as it was before it was written; others stay."""
    if not isinstance(column.dtype, pd.StringDtype):
        return column
    return column.str.replace(_GUARDED, r"\1", regex=True)
