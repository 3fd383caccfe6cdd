"""A calibration as text, right at 80 columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from sim.report.display import number, or_dash, percent, whole
from sim.report.terminal import text_of

if TYPE_CHECKING:
    from sim.importers.calibration import Calibration

CALIBRATION_LEGEND = (
    "sim: simulated with the fitted values, obs: observed, of creates that succeed in\n"
    "both; clone %: clones among them; hit %: of the look-ups in the cache; p50, p95:\n"
    "create seconds; KS: distance of their distributions, 0: the same; off by: the\n"
    "typical factor between simulated and observed create seconds. Under shared\n"
    "rates: without / with the rate, of every second create, which the fit did not see"
)


def calibration_text(found: Calibration) -> str:
    """Simulated values above observed ones for each pool, then the fitted times and rates."""
    goodness = [
        f"{row['rates']} values: {row['creates']:,} creates,"
        f" off by {row['rms_factor']:.2f}, R2 {or_dash(row['r2'], format(row['r2'], '.2f'))}"
        for row in found.goodness.to_dict("records")
    ]
    tables = _calibrated_pools(found.pools), "", _calibrated_rates(found.rates), "", _shared(found.shared), ""
    return text_of(*tables, *map(Text, goodness), Text(CALIBRATION_LEGEND, style="dim"))


def _calibrated_pools(pools: pd.DataFrame) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("pool", overflow="fold")
    shown: dict[str, tuple[str, Callable[[float], str]]] = {
        "clone %": ("clone_hit_rate", percent),
        "hit %": ("hit_rate", percent),
        "fills": ("fills", whole),
        "evicted": ("evictions", whole),
        "p50 s": ("s_p50", number),
        "p95 s": ("s_p95", number),
    }
    for heading in ("", "creates", *shown, "KS"):
        table.add_column(heading, justify="right", no_wrap=True)  # only names of pools may be folded
    for row in pools.to_dict("records"):
        ks = or_dash(row["ks"], f"{row['ks']:.2f}")
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
        between = "only with others" if row["together"] else "the history does not tell"
        if row["told"]:
            between = f"{row['low']:.3g} to {row['high']:.3g}"
        fitted = f"{row['fitted']:.4g}" if row["told"] or row["together"] else "-"
        table.add_row(".".join(row["path"]), f"{row['assumed']:.4g}", fitted, between)
    return table


def _shared(shared: pd.DataFrame) -> Table:
    """Whether creates were slower while others ran, for each rate that they may share."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for heading in ("shared", "fitted", "95 %", "off by, without / with"):
        table.add_column(heading, justify="left" if heading == "shared" else "right", overflow="fold")
    for row in shared.to_dict("records"):
        seen = row["verdict"] == "seen"
        between = f"{row['low']:.3g} to {row['high']:.3g}" if seen else row["verdict"]
        fitted = f"{row['fitted']:.4g}" if seen else "-"
        off = [or_dash(row[name], f"{row[name]:.2f}") for name in ("without_off_by", "with_off_by")]
        table.add_row(".".join(row["path"]), fitted, between, " / ".join(off))
    return table


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)
