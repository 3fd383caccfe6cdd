"""Hit curves as text, right at 80 columns."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
import pandas as pd
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sim.analysis.curves import Curves
from sim.report.display import percent
from sim.report.terminal import text_of

CURVE_ROWS = 12
CURVE_LEGEND = (
    "count: image_volume_cache_max_count, GiB: image_volume_cache_max_size_gb, each\n"
    "alone and per pool; now: the scenario's, all: the working set, beyond which no\n"
    "more helps; byte hit %: of the image files' bytes. More: --json, --out"
)


def curves_text(curves: Curves) -> str:
    """Tables of some values of `sim.analysis.curves.curve`, for each pool and each tier of several pools."""
    parts: list[RenderableType] = []
    pools = curves.working_set.set_index("host", drop=False)
    for key, rows in curves.curve.groupby(["scope", "name"], sort=False):
        scope, name = map(str, key)
        served = [name in types.split(";") for types in pools["volume_type"]]
        own = pools.loc[[name]] if scope == "pool" else pools[served]
        if scope == "tier" and len(own) == 1 and own["volume_type"].iloc[0] == name:
            continue  # what its only pool shows
        requests = int(rows["requests"].iloc[0])
        parts.append(Text(_curve_title(name, requests, scope, own), style="bold"))
        parts += [_curve_table(rows, own), ""] if requests else [""]
    return text_of(*parts, Text(CURVE_LEGEND, style="dim"))


def _curve_title(name: str, requests: int, scope: str, own: pd.DataFrame) -> str:
    title = f"{name}: {requests:,} look-up{'' if requests == 1 else 's'}"
    if scope == "tier":
        return f"{title} in {len(own)} pool{'' if len(own) == 1 else 's'}"
    pool = own.iloc[0]
    if not pool["image_volume_cache_enabled"]:
        return f"{title}, the cache is off now"
    limits = [
        f"{pool[limit]} {unit}"
        for limit, unit in (
            ("image_volume_cache_max_count", "entries"),
            ("image_volume_cache_max_size_gb", "GiB"),
        )
        if pool[limit]
    ]
    if requests:
        title += f", now {percent(pool['hit_rate'])} % hits"
    return f"{title} ({' and '.join(limits) or 'unlimited'})"


def _curve_table(rows: pd.DataFrame, own: pd.DataFrame) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    sides: list[list[tuple[str, ...]]] = []
    for heading, limit, used in (
        ("count", "image_volume_cache_max_count", "images"),
        ("GiB", "image_volume_cache_max_size_gb", "gib"),
    ):
        for column in (heading, "hit %", "byte hit %"):
            table.add_column(column, justify="right")
        table.add_column("" if sides else "   ", min_width=8)
        sides.append(_curve_side(rows[rows["limit"] == limit], own[limit], int(own[used].max())))
    for left, right in zip_longest(*sides, fillvalue=("",) * 4):
        table.add_row(*left, *right)
    return table


def _curve_side(rows: pd.DataFrame, limits: pd.Series[int], working_set: int) -> list[tuple[str, ...]]:
    """Cells for some values of one limit: in equal ratios, and the values with a mark."""
    now = {min(limit or working_set, working_set) for limit in limits}
    rows = rows[(rows["value"] > 0) & (rows["value"] <= working_set)]
    values = rows["value"].to_numpy()
    spread = np.geomspace(values[0], working_set, CURVE_ROWS)
    shown = rows[rows["value"].isin({*values[np.searchsorted(values, spread - 1e-9)], *now, working_set})]
    marks = [
        ", ".join(mark for mark, here in (("now", value in now), ("all", value == working_set)) if here)
        for value in shown["value"]
    ]
    return [
        (f"{value:,}", percent(hit_rate), percent(byte_hit_rate), mark)
        for value, hit_rate, byte_hit_rate, mark in zip(
            shown["value"], shown["hit_rate"], shown["byte_hit_rate"], marks, strict=True
        )
    ]
