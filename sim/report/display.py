"""Summaries as text for a terminal, a pipe or a log, right at 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sim.analysis.statistics import DAY_S
from sim.report.terminal import LEAST, console, filled, text_of

if TYPE_CHECKING:
    from sim.analysis.comparison import Comparison
    from sim.analysis.curves import Curves
    from sim.importers.calibration import Calibration

Columns = dict[str, tuple[str, Callable[[float], str]]]
NAMED = 16  # letters of the longest strategy
FOLDED = 11  # of one that is broken at its hyphens, where there are few columns
LEGEND = (
    "image GiB, vols: image-volumes of cache and store, GiB as provisioned, means\n"
    "over time; price: for their mean physical GiB and volumes. More: --json, --out"
)
OTHERS_LEGEND = "other err.: creates without an image that failed\n"


def tables_text(summaries: pd.DataFrame) -> str:
    """A table per tier, and of all if there are several, from rows of `metrics.summary`.

    A row per strategy.
    """
    parts: list[RenderableType] = []
    tiers = list(dict.fromkeys(summaries["tier"]))
    for tier in tiers[:1] if len(tiers) == 2 else tiers:
        rows = summaries[summaries["tier"] == tier]
        creates = rows["creates"].iloc[0]
        title = f"{tier}: {creates:,} create{'' if creates == 1 else 's'}"
        parts += [Text(title, style="bold"), _table(rows, _told(COLUMNS, rows)), ""]
    legend = OTHERS_LEGEND + LEGEND if summaries["other_errors"].any() else LEGEND
    return text_of(*parts, Text(legend, style="dim"))


def _told(columns: Columns, rows: pd.DataFrame) -> Columns:
    """The columns, without that of other errors where there are none; else both kinds in a few letters."""
    if rows["other_errors"].any():
        return columns | {"errors": ("err.", _whole)}
    return {key: column for key, column in columns.items() if key != "other_errors"}


def uploads_text(uploads: pd.DataFrame) -> str:
    """A table of the rows of `metrics.uploads_of`."""
    title = Text("uploads, and creates from the images that they made", style="bold")
    return text_of(title, _table(uploads, UPLOADS))


def _table(rows: pd.DataFrame, columns: Columns) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    table.add_column("", overflow="fold")
    for heading, _ in columns.values():
        table.add_column(heading, justify="right", overflow="fold", vertical="bottom")
    for row in rows.to_dict("records"):
        table.add_row(_name(row["strategy"]), *(shown(row[key]) for key, (_, shown) in columns.items()))
    return table


def _name(strategy: str) -> Text:
    """At its hyphens one part below the other, where it has to be."""
    room = console().width >= LEAST + NAMED - FOLDED
    return Text(strategy if room else textwrap.fill(strategy, FOLDED))


def _percent(share: float) -> str:
    return _or_dash(share, f"{100 * share:.1f}")


def _whole(count: float) -> str:
    return f"{count:.0f}" if count < 100_000 else _number(count)


def _number(value: float) -> str:
    """At most five characters up to 99.9 M, with `k` and `M` for thousands and millions."""
    for below, text in (
        (9.995, f"{value:.2f}"),
        (999.95, f"{value:.1f}"),
        (99_999.5, f"{value:.0f}"),
        (999_500, f"{value / 1e3:.0f}k"),
    ):
        if value < below:
            return text
    return _or_dash(value, f"{value / 1e6:.1f}M")


def _or_dash(value: float, text: str) -> str:
    return "-" if pd.isna(value) else text


COLUMNS: Columns = {
    "clone_hit_rate": ("clone\nhit %", _percent),
    "store_hit_rate": ("store\nhit %", _percent),
    "cache_hit_rate": ("cache\nhit %", _percent),
    "create_s_p50": ("create\np50 s", _number),
    "create_s_p95": ("create\np95 s", _number),
    "errors": ("errors", _whole),
    "other_errors": ("other\nerr.", _whole),
    "image_provisioned_gib_mean": ("image\nGiB\nmean", _number),
    "image_provisioned_gib_peak": ("image\nGiB\npeak", _whole),
    "image_volumes_mean": ("image\nvols\nmean", _number),
    "image_volumes_peak": ("image\nvols\npeak", _whole),
    "price_month": ("price\na\nmonth", _number),
}


UPLOADS: Columns = {
    "uploads": ("uploads", _whole),
    "errors": ("errors", _whole),
    "upload_s_p50": ("upload\np50 s", _number),
    "upload_s_p95": ("upload\np95 s", _number),
    "later_creates": ("later\ncreates", _whole),
    "later_clones": ("cloned", _whole),
    "later_downloads": ("down-\nloaded", _whole),
    "later_errors": ("failed", _whole),
}

COMPARED = {
    "clone_hit_rate": "clone\nhit %",
    "create_s_mean": "create\nmean s",
    "create_s_p95": "create\np95 s",
    "errors": "errors",
    "other_errors": "other\nerrors",
    "image_provisioned_gib_mean": "image GiB\nmean",
    "price_month": "price\na month",
}


def comparison_text(found: Comparison) -> str:
    """Figures and their differences to one strategy, ± half their intervals, per tier."""
    told = f"(± at {100 * found.confidence:.0f} %)"
    if found.of == "replications":
        how = f"means of {found.units:,} replications {told}"
    else:
        days = "days" if found.block_s == DAY_S else "tenths of it"
        how = f"one history: intervals by a block bootstrap over {days} {told}"
    if found.warm_up_s:
        how += f"\ncreates before {found.warm_up_s:,.0f} s are left out"
    tiers = list(dict.fromkeys(found.measures["tier"]))
    parts: list[RenderableType] = [Text(how, style="dim")]
    for tier in tiers[:1] if len(tiers) == 2 else tiers:
        parts += ["", Text(tier, style="bold"), _compared(found, tier)]
    return text_of(*parts)


def _compared(found: Comparison, tier: str) -> Table:
    """A row a strategy. Differences stand beside few figures, and below many."""
    own, apart = (rows[rows["tier"] == tier] for rows in (found.measures, found.differences))
    names, others = (list(dict.fromkeys(rows["strategy"])) for rows in (own, apart))
    there = set(own.loc[(own["measure"] != "other_errors") | (own["mean"] != 0), "measure"])
    measures = [measure for measure in COMPARED if measure in there]
    beside = found.of == "blocks"
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold")
    columns = []
    for measure in measures:
        table.add_column(COMPARED[measure], justify="right", overflow="fold", vertical="bottom")
        values, differences = _cells(own, measure), _cells(apart, measure, signed=True)
        columns.append(_aligned(values if beside else values + differences))
        if beside and others:
            table.add_column(f"less\n{found.reference}", justify="right", overflow="fold", vertical="bottom")
            of = dict(zip(others, _aligned(differences), strict=True))
            columns.append([of.get(name, "") for name in names])
    for row, name in enumerate(names if beside else [*names, *others]):
        if row == len(names):
            table.add_section()
            table.add_row(Text(f"less {found.reference}:"))
        table.add_row(_name(name), *(column[row] for column in columns))
    return table


def _cells(rows: pd.DataFrame, measure: str, signed: bool = False) -> list[tuple[str, str]]:
    """Each mean and half its interval."""
    means = rows.loc[rows["measure"] == measure, ["mean", "high"]].to_numpy(float)
    return [_cell(measure, mean, high, signed) for mean, high in means]


def _cell(measure: str, mean: float, high: float, signed: bool = False) -> tuple[str, str]:
    share = measure == "clone_hit_rate"
    before = "-" if mean < 0 else "+" if signed and mean >= 0 else ""
    return before + (_percent if share else _number)(abs(mean)), _half(high - mean, share)


def _plus_minus(measure: str, mean: float, high: float) -> str:
    return _aligned([_cell(measure, mean, high)])[0]


def _half(value: float, share: bool) -> str:
    """As exact as the value, but for digits that would say nothing."""
    value *= 100 if share else 1
    for below, text in (
        (0.05 if share else 0.005, "0"),
        (0.995, f"{value:.1f}" if share else f"{value:.2f}"),
        (9.95, f"{value:.1f}"),
        (999.5, f"{value:.0f}"),
    ):
        if value < below:
            return text
    return _or_dash(value, f"{value / 1e3:.0f}k")


def _aligned(cells: list[tuple[str, str]]) -> list[str]:
    width = max((len(half) for _, half in cells), default=0)
    return ["-" if value == "-" else f"{value}±{half.ljust(width)}" for value, half in cells]


CURVE_ROWS = 12
CURVE_LEGEND = (
    "count: image_volume_cache_max_count, GiB: image_volume_cache_max_size_gb, each\n"
    "alone and per pool; now: the scenario's, all: the working set, beyond which no\n"
    "more helps; byte hit %: of the image files' bytes. More: --json, --out"
)


def curves_text(curves: Curves) -> str:
    """Tables of some values for each pool, and for each tier of several pools, from
    `sim.analysis.curves.curve`.
    """
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
        title += f", now {_percent(pool['hit_rate'])} % hits"
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
    """Cells for some of the values of one limit: evenly spread in proportion, and those that are marked."""
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
        (f"{value:,}", _percent(hit_rate), _percent(byte_hit_rate), mark)
        for value, hit_rate, byte_hit_rate, mark in zip(
            shown["value"], shown["hit_rate"], shown["byte_hit_rate"], marks, strict=True
        )
    ]


SWEEP_ROWS = 40
MOST_KEYS = 3  # that have a column each


def sweep_text(table: pd.DataFrame, certain: pd.DataFrame) -> str:
    """What came of the cells in all, a row each, from `sim.sweep.sweep.tidy`; of many, the first ones.

    Of replications a row for each point, means ± half their intervals, from `sim.sweep.intervals.intervals`.
    """
    keys = list(table.columns[1 : table.columns.get_loc("replication")])
    replicated = bool(table["replication"].nunique() > 1 and len(certain))
    rows = certain if replicated else table
    rows = rows[rows["scope"] == "all"]
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    shown.add_column("", min_width=len("store-only"), overflow="fold")
    many = len(keys) > MOST_KEYS
    varied, else_ = _varied(rows[keys]) if many else (rows[keys].astype(str).to_numpy().tolist(), "")
    for name in ["varied"] if many else _short(keys).values():
        shown.add_column(name, justify="left" if many else "right", overflow="fold", vertical="bottom")
    names = (
        *("clone_hit_rate", "create_s_p95", "errors", "other_errors"),
        *("image_provisioned_gib_mean", "price_month"),
    )
    columns = _told({name: COLUMNS[name] for name in names}, rows)
    for column in columns:
        shown.add_column(COLUMNS[column][0], justify="right", overflow="fold", vertical="bottom")
    for values, row in zip(varied, rows.head(SWEEP_ROWS).to_dict("records"), strict=False):
        if replicated:
            cells = [_plus_minus(column, row[column], row[f"{column}_high"]) for column in columns]
        else:
            cells = ["failed"] if row["error"] else [COLUMNS[column][1](row[column]) for column in columns]
        shown.add_row(row["strategy"], *values, *cells)
    left = len(rows) - SWEEP_ROWS
    more = f"\n... and {left:,} more {'points' if replicated else 'cells'}" if left > 0 else ""
    told = f"means of {table['replication'].nunique():,} replications (± at 95 %)\n\n" if replicated else ""
    return told + text_of(shown) + more + else_


def _varied(values: pd.DataFrame) -> tuple[list[list[str]], str]:
    """The values of each row that are not the most frequent of their key, and a line with the most
    frequent."""
    names = _short([str(key) for key in values])
    usual = {str(key): column.astype(str).mode()[0] for key, column in values.items()}
    rows = [
        ["\n".join(_said(name, row[key]) for key, name in names.items() if str(row[key]) != usual[key])]
        for row in values.to_dict("records")
    ]
    told = filled("else: " + ", ".join(_said(name, usual[key]) for key, name in names.items()))
    return rows, f"\n\n{told}"


def _said(name: str, value: object) -> str:
    switch = {"True": name, "False": f"no {name}"}
    return switch.get(str(value), f"{name}={value}")


def _short(keys: list[str]) -> dict[str, str]:
    """Names for keys of a scenario: their last parts; of several alike, after the first part that differs."""
    last = {key: key.rpartition(".")[2].removeprefix("image_volume_cache_") for key in keys}
    names = {}
    for key, name in last.items():
        alike = [other.split(".") for other in keys if last[other] == name]
        places = zip_longest(*alike)
        differing = next((place for place, parts in enumerate(places) if len(set(parts)) > 1), None)
        names[key] = name if differing is None else f"{key.split('.')[differing]} {name}"
    return names if len(set(names.values())) == len(keys) else {key: key for key in keys}


CALIBRATION_LEGEND = (
    "sim: simulated with the fitted values, obs: observed, of creates that succeed in\n"
    "both; clone %: clones among them; hit %: of the look-ups in the cache; p50, p95:\n"
    "create seconds; KS: distance of their distributions, 0: the same; off by: the\n"
    "typical factor between simulated and observed create seconds"
)


def calibration_text(found: Calibration) -> str:
    """What was simulated beside what was observed, a row a pool, and the times and rates that were fitted."""
    goodness = [
        f"{row['rates']} values: {row['creates']:,} creates,"
        f" off by {row['rms_factor']:.2f}, R2 {_or_dash(row['r2'], format(row['r2'], '.2f'))}"
        for row in found.goodness.to_dict("records")
    ]
    tables = _calibrated_pools(found.pools), "", _calibrated_rates(found.rates), ""
    return text_of(*tables, *map(Text, goodness), Text(CALIBRATION_LEGEND, style="dim"))


def _calibrated_pools(pools: pd.DataFrame) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("pool", overflow="fold")
    shown: dict[str, tuple[str, Callable[[float], str]]] = {
        "clone %": ("clone_hit_rate", _percent),
        "hit %": ("hit_rate", _percent),
        "fills": ("fills", _whole_or_dash),
        "evicted": ("evictions", _whole_or_dash),
        "p50 s": ("s_p50", _number_or_dash),
        "p95 s": ("s_p95", _number_or_dash),
    }
    for heading in ("", "creates", *shown, "KS"):
        table.add_column(heading, justify="right", no_wrap=True)  # only names of pools may be folded
    for row in pools.to_dict("records"):
        ks = _or_dash(row["ks"], f"{row['ks']:.2f}")
        for which, short, once in (
            ("simulated", "sim", (row["host"], f"{row['creates']:,}", ks)),
            ("observed", "obs", ("", "", "")),
        ):
            cells = [form(_float(row[f"{which}_{key}"])) for key, form in shown.values()]
            table.add_row(once[0], short, once[1], *cells, once[2])
    return table


def _calibrated_rates(rates: pd.DataFrame) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for heading in ("assumed", "value", "fitted", "95 %"):
        table.add_column(heading, justify="left" if heading == "assumed" else "right", overflow="fold")
    for row in rates.to_dict("records"):
        between = f"{row['low']:.3g} to {row['high']:.3g}" if row["told"] else "the history does not tell"
        fitted = f"{row['fitted']:.4g}" if row["told"] else "-"
        table.add_row(".".join(row["path"]), f"{row['assumed']:.4g}", fitted, between)
    return table


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _whole_or_dash(value: float) -> str:
    return "-" if pd.isna(value) else _whole(value)


def _number_or_dash(value: float) -> str:
    return "-" if pd.isna(value) else _number(value)
