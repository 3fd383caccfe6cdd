"""Lines that Arrow makes are the bytes that pandas writes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.inputs import csv_lines
from sim.inputs.cells import csv_text, guarded_table, write_csv

EDGES = [
    *(10.0**power for power in range(-7, 18)),
    0.0,
    np.nan,
    np.inf,
    5e-324,
    0.1 + 0.2,
    2.0**53,
    123456.789,
]
ROWS = st.tuples(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)
    | st.sampled_from("=+-@\t\r\n\",'#a"),
    st.sampled_from(["", "a,b", "=1", None]),
    st.floats() | st.floats(-1e12, 1e12) | st.integers(-10, 10).map(float),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
)


def table_of(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    text, kind, number, count, flag = map(list, zip(*rows, strict=True)) if rows else ([],) * 5
    return pd.DataFrame(
        {
            "text": pd.Series(text, dtype="str"),
            "a kind, of": pd.Series(kind, dtype="str").astype("category"),
            "number": np.array(number, np.float64),
            "some": pd.Series(kind, dtype="str"),
            "count": np.array(count, np.int64),
            "flag": np.array(flag, bool),
        }
    )


def by_pandas(table: pd.DataFrame, **options: Any) -> str:
    text = io.StringIO()
    guarded_table(table).to_csv(text, index=False, lineterminator="\n", **options)
    return text.getvalue()


@settings(max_examples=40)
@given(st.lists(ROWS, max_size=20), st.booleans())
def test_the_bytes_are_those_of_pandas(rows: list[tuple[Any, ...]], header: bool) -> None:
    table = table_of(rows)
    assert csv_lines.plain(table)
    assert csv_text(table, header=header) == by_pandas(table, header=header)


def test_floats_at_every_power_of_ten() -> None:
    near = [np.nextafter(edge, to) for edge in EDGES for to in (-np.inf, np.inf)]
    table = pd.DataFrame({"one": [*EDGES, *near]})
    table["other"] = -table["one"]
    assert csv_text(table) == by_pandas(table)


def test_many_rows_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_lines, "ROWS", 7)
    rows = [(f"v{number}", "a,b", number / 3, number, number % 2 == 0) for number in range(50)]
    write_csv(table_of(rows), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == by_pandas(table_of(rows)).encode()


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["a", None, 1], dtype=object),
        pd.Series(pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03"])),
        pd.Series([1, 2, 1]).astype("category"),
        pd.Series([1, None, 2], dtype="Int64"),
        pd.Series([0.1, 0.2, 0.3], dtype="float32"),
    ],
)
def test_pandas_writes_what_is_neither_number_nor_text(column: pd.Series) -> None:
    table = pd.DataFrame({"text": ["a", "b", "c"], "column": column})
    assert not csv_lines.plain(table)
    assert csv_text(table) == by_pandas(table)
