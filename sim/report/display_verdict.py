"""A verdict as text, right at 80 columns, and its table as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sim.inputs.beside import beside
from sim.inputs.cells import csv_text
from sim.inputs.problems import printable
from sim.report.terminal import filled, item, text_of

NAMES = {"hit_rate": "hit %", "p95_s": "p95 s"}
FINE = (
    "hit %: clones among the creates that succeed. p95 s: seconds that 95 % of them do not exceed. Behind a"
    " figure: its 95 % interval"
)


def verdict_text(document: Mapping[str, Any]) -> str:
    """The verdict first, then every figure, then what explains a gap."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("backend", "", "promised", "since then", "creates", "verdict"):
        table.add_column(heading, justify="right" if heading == "creates" else "left", overflow="fold")
    for each in document["figures"]:
        wait = f", {_days(each['wait_days'])} more" if each["wait_days"] else ""
        table.add_row(
            printable(each["backend"]),
            NAMES[each["figure"]],
            _shown(each, "promised"),
            _shown(each, "observed"),
            f"{each['creates']:,}",
            f"{each['verdict']}{wait}",
        )
    period = f"from {document['since']} to {document['until']}, {document['days']:.3g} days"
    why = [
        *(f"{_where(each)}{each['text']}" for each in document["why"]),
        *(
            f"{each['backend']}, {NAMES[each['figure']]}: {each['why']}"
            for each in document["figures"]
            if each["why"] and not each["wait_days"]
        ),
    ]
    headline, fine = Text(_headline(document), style="bold"), Text(filled(FINE), style="dim")
    reasons: list[RenderableType] = [
        "",
        Text("why", style="bold"),
        *(Text(item(printable(each))) for each in why),
    ]
    return text_of(headline, Text(period), "", table, fine, *(reasons if why else []))


def _headline(document: Mapping[str, Any]) -> str:
    if document["wait_days"]:
        return f"{document['verdict']}: ask again in {_days(document['wait_days'])}"
    return str(document["verdict"])


def _days(count: int) -> str:
    return f"{count:,} day" + ("s" if count > 1 else "")


def _where(each: Mapping[str, Any]) -> str:
    return "" if each["backend"] == "all" or each["kind"] == "settings" else f"{each['backend']}: "


def _shown(of: Mapping[str, Any], which: str) -> str:
    """A figure with the ends of its interval; an open end is not known."""
    if of[which] is None:
        return "-"
    scale = 100 if of["figure"] == "hit_rate" else 1
    low, high = (
        "…" if end is None else f"{scale * end:.3g}" for end in (of[f"{which}_low"], of[f"{which}_high"])
    )
    return f"{scale * of[which]:.3g} ({low} to {high})"


def write_verdict(document: Mapping[str, Any], folder: Path) -> None:
    """Write `verdict.json`, `verdict.csv` (a row for each figure) and `why.csv`. Raises OSError."""
    texts = {
        "verdict.csv": csv_text(pd.DataFrame(document["figures"])),
        "verdict.json": json.dumps(document, indent=2, allow_nan=False) + "\n",
        "why.csv": csv_text(
            pd.DataFrame(
                document["why"], columns=["kind", "backend", "setting", "promised", "observed", "text"]
            )
        ),
    }
    with beside(*(folder / name for name in texts)) as new:
        for path, text in zip(new, texts.values(), strict=True):
            path.write_text(text, encoding="utf-8")
