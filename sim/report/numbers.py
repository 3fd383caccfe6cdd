"""Tables of the page: as HTML, rounded for reading, and whole as a file to download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
import pandas as pd

from sim.inputs.cells import csv_text
from sim.plots.frame import number

ROWS = 60  # of a table that are shown; the file has all

# What columns are called, where their own name says less.
HEADINGS = {
    "clone_hit_rate": "clone hits",
    "driver_hit_rate": "driver's clones",
    "store_hit_rate": "store hits",
    "cache_hit_rate": "cache hits",
    "create_s_mean": "mean s",
    "create_s_p50": "median s",
    "create_s_p95": "p95 s",
    "create_s_p99": "p99 s",
    "upload_s_p50": "median s",
    "upload_s_p95": "p95 s",
    "later_clones": "cloned",
    "later_downloads": "downloaded",
    "later_errors": "failed",
    "other_errors": "errors without an image",
    "image_provisioned_gib_mean": "image GiB, mean",
    "image_provisioned_gib_peak": "image GiB, peak",
    "image_volumes_mean": "image volumes, mean",
    "image_volumes_peak": "image volumes, peak",
    "image_physical_gib_mean": "physical GiB, mean",
    "price_month": "price a month",
    "p95_s": "p95 s",
    "space_gib_mean": "image GiB, mean",
    "space_gib_peak": "image GiB, peak",
    "volumes_peak": "volumes, peak",
    "gib_days": "GiB-days",
    "hits_per_gib_day": "hits per GiB-day",
    "evicted_early": "evicted early",
    "again_s": "downloaded again after s",
    "image_volume_cache_enabled": "cache",
    "image_volume_cache_max_size_gb": "max_size_gb",
    "image_volume_cache_max_count": "max_count",
}


@dataclass(frozen=True)
class Numbers:
    """A table: `rows` of text, the first `labels` of which head their row, and the whole as a file."""

    caption: str
    headings: list[str]
    rows: list[list[str]]
    labels: int
    note: str
    file: str
    href: str


def numbers(
    table: pd.DataFrame,
    caption: str,
    file: str,
    *,
    labels: int = 1,
    cells: Mapping[str, Sequence[str]] | None = None,
) -> Numbers:
    """The numbers of a table, to show and to download.

    `cells` has texts for columns that need more than the plain numbers. A long table shows only some rows, at
    even distances.
    """
    shown = np.arange(len(table))
    note = ""
    if len(table) > ROWS:
        shown = np.unique(np.linspace(0, len(table) - 1, ROWS).astype(int))
        note = f"{len(shown):,} of {len(table):,} rows, evenly apart; the file has all."
    columns = [
        list((cells or {}).get(str(name), ())) or [text(value, str(name)) for value in table[name]]
        for name in table
    ]
    return Numbers(
        caption,
        [
            HEADINGS.get(str(name), str(name) if "." in str(name) else str(name).replace("_", " "))
            for name in table
        ],
        [[column[row] for column in columns] for row in shown.tolist()],
        labels,
        note,
        file,
        "data:text/csv;charset=utf-8," + quote(csv(table), safe=",:;/ !*()$@?"),
    )


def csv(table: pd.DataFrame) -> str:
    """The table as a file has it: ten digits of each number, which is more than it knows."""
    return csv_text(table, float_format="%.10g")


def text(value: object, column: str = "") -> str:
    """A cell as it is read: shares as per cent."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "-"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if isinstance(value, (float, np.floating)):
        share = "hit_rate" in column or column.endswith("share")
        return f"{100 * value:.1f} %" if share else number(float(value))
    return str(value)
