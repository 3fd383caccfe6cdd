"""The results of a sweep as text, right at 80 columns."""

from __future__ import annotations

from itertools import zip_longest

import pandas as pd
from rich import box
from rich.table import Table

from sim.report.display import COLUMNS, plus_minus, told_columns
from sim.report.terminal import filled, text_of
from sim.sweep.results import value_text

SWEEP_ROWS = 40
MOST_KEYS = 3  # with a column each


def sweep_text(table: pd.DataFrame, certain: pd.DataFrame) -> str:
    """The results of the cells in all tiers, one row each, from `sim.sweep.sweep.tidy`.

    With several replications it has one row per point, means ± half their intervals, from
    `sim.sweep.intervals.intervals`. It shows the first SWEEP_ROWS rows.
    """
    keys = list(table.columns[1 : table.columns.get_loc("replication")])
    replicated = bool(table["replication"].nunique() > 1 and len(certain))
    rows = certain if replicated else table
    rows = rows[rows["scope"] == "all"]
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    shown.add_column("", min_width=len("store-only"), overflow="fold")
    many = len(keys) > MOST_KEYS
    values = rows[keys].map(value_text)
    varied, else_ = _varied(values) if many else (values.to_numpy().tolist(), "")
    for name in ["varied"] if many else _short(keys).values():
        shown.add_column(name, justify="left" if many else "right", overflow="fold", vertical="bottom")
    names = (
        *("clone_hit_rate", "create_s_p95", "errors", "other_errors"),
        *("image_provisioned_gib_mean", "price_month"),
    )
    columns = told_columns({name: COLUMNS[name] for name in names}, rows)
    for column in columns:
        shown.add_column(COLUMNS[column][0], justify="right", overflow="fold", vertical="bottom")
    for said, row in zip(varied, rows.head(SWEEP_ROWS).to_dict("records"), strict=False):
        if replicated:
            cells = [plus_minus(column, row[column], row[f"{column}_high"]) for column in columns]
        else:
            cells = ["failed"] if row["error"] else [COLUMNS[column][1](row[column]) for column in columns]
        shown.add_row(row["strategy"], *said, *cells)
    left = len(rows) - SWEEP_ROWS
    more = f"\n... and {left:,} more {'points' if replicated else 'cells'}" if left > 0 else ""
    told = f"means of {table['replication'].nunique():,} replications (± at 95 %)\n\n" if replicated else ""
    return told + text_of(shown) + more + else_


def _varied(values: pd.DataFrame) -> tuple[list[list[str]], str]:
    """The values of each row that are not the most frequent of their key, and a line with the most
    frequent."""
    names = _short([str(key) for key in values])
    usual = {str(key): column.mode()[0] for key, column in values.items()}
    rows = [
        ["\n".join(_said(name, row[key]) for key, name in names.items() if row[key] != usual[key])]
        for row in values.to_dict("records")
    ]
    told = filled("else: " + ", ".join(_said(name, usual[key]) for key, name in names.items()))
    return rows, f"\n\n{told}"


def _said(name: str, value: str) -> str:
    return {"True": name, "False": f"no {name}"}.get(value, f"{name}={value}")


def _short(keys: list[str]) -> dict[str, str]:
    """Short names for keys: the last part, and before it, where names are alike, the first that differs."""
    last = {key: key.rpartition(".")[2].removeprefix("image_volume_cache_") for key in keys}
    names = {}
    for key, name in last.items():
        alike = [other.split(".") for other in keys if last[other] == name]
        places = zip_longest(*alike)
        differing = next((place for place, parts in enumerate(places) if len(set(parts)) > 1), None)
        names[key] = name if differing is None else f"{key.split('.')[differing]} {name}"
    return names if len(set(names.values())) == len(keys) else {key: key for key in keys}
