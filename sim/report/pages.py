"""The pages: of a comparison, a sweep, a plan."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import pandas as pd
from markupsafe import Markup

from sim.plots import number
from sim.report import parts
from sim.report.numbers import Numbers, numbers, text
from sim.report.parts import ALL, Pictures, Ran, Section
from sim.scenario import Case

if TYPE_CHECKING:
    from sim.comparison import Comparison
    from sim.curves import Curves

FILE = "report.html"
SHOWN = (
    *("clone_hit_rate", "store_hit_rate", "cache_hit_rate", "create_s_p50", "create_s_p95", "errors"),
    *("image_provisioned_gib_mean", "image_provisioned_gib_peak", "image_volumes_mean"),
    *("image_volumes_peak", "price_month"),
)


def write(page: str, folder: Path) -> None:
    """`report.html` in a folder, whole or not at all. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{FILE}.{os.getpid()}"
    try:
        beside.write_text(page, encoding="utf-8")
        beside.replace(folder / FILE)
    finally:
        beside.unlink(missing_ok=True)


def comparison_page(
    case: Case,
    summaries: pd.DataFrame,
    runs: Sequence[Ran],
    found: Comparison | None,
    curves: Curves | None,
    made: Mapping[str, object],
) -> str:
    """Of strategies on the same workload.

    `summaries`: rows of `sim.metrics.summary` of each; `runs`: those whose tables were in memory; `found`: how
    sure the figures are; `curves` if there are any; `made`: how, for the page's end.
    """
    draw = Pictures()
    certain = None if found is None else found.measures
    best = _best(summaries)
    sections = [
        Section("answer", "The answer", _verdict(summaries, found), tables=_answer(summaries, found)),
        *([parts.curves_section(draw, case, curves)] if curves is not None else []),
        parts.strategies_section(draw, summaries, certain, "strategies"),
        *_of_runs(draw, runs, best),
    ]
    creates = int(summaries["creates"].iloc[-1])
    return _page(
        f"{case.scenario.name}: strategies compared", f"{creates:,} creates from an image", sections, made
    )


def _of_runs(draw: Pictures, runs: Sequence[Ran], best: str) -> list[Section]:
    if not runs:
        why = "The trace was too large for memory: only what was counted on the way is here."
        return [Section("space", "Space, seconds, images", [why])]
    return [
        parts.space_section(draw, runs, best),
        parts.seconds_section(draw, runs),
        parts.images_section(draw, runs),
        parts.findings_section(runs),
    ]


def _best(summaries: pd.DataFrame) -> str:
    rows = summaries[summaries["tier"] == ALL]
    return str(rows.loc[rows["clone_hit_rate"].fillna(-1).idxmax(), "strategy"])


def _verdict(summaries: pd.DataFrame, found: Comparison | None) -> list[str]:
    """What the tables come to, in words."""
    rows = summaries[summaries["tier"] == ALL].set_index("strategy")
    best, soonest = rows["clone_hit_rate"].fillna(-1).idxmax(), rows["create_s_mean"].fillna(1e300).idxmin()
    top = rows.loc[best]
    lines = [
        f"Most clone hits: {best}, {top['clone_hit_rate']:.1%} of all creates, with"
        f" {number(top['image_provisioned_gib_mean'])} GiB of image-volumes on average"
        f" ({number(top['price_month'])} a month)."
    ]
    if not rows["create_s_mean"].isna().all():
        least, most = rows["create_s_mean"].min(), rows["create_s_mean"].max()
        lines.append(
            f"Soonest: {soonest}, {number(least)} s a create on average; the slowest strategy takes {number(most)} s."
        )
    errors = rows["errors"]
    if errors.any():
        lines.append(
            f"Failed creates: from {int(errors.min()):,} ({errors.idxmin()}) to {int(errors.max()):,}"
            f" ({errors.idxmax()})."
        )
    if found is not None:
        of = "replications" if found.of == "replications" else "blocks of the one history"
        lines.append(f"Behind ±: half of a {found.confidence:.0%} interval over {found.units:,} {of}.")
    return lines


def _answer(summaries: pd.DataFrame, found: Comparison | None) -> list[Numbers]:
    """A table for each tier: a row a strategy."""
    tiers = list(dict.fromkeys(summaries["tier"]))
    tables = []
    for tier in tiers[:1] if len(tiers) == 2 else tiers:
        rows = summaries[summaries["tier"] == tier].reset_index(drop=True)
        creates = int(rows["creates"].iloc[0])
        cells = {name: _with_halves(rows, name, tier, found) for name in SHOWN}
        name = "All tiers" if tier == ALL else f"Tier {tier}"
        tables.append(
            numbers(rows[["strategy", *SHOWN]], f"{name}: {creates:,} creates", f"{tier}.csv", cells=cells)
        )
    return tables


def _with_halves(rows: pd.DataFrame, measure: str, tier: str, found: Comparison | None) -> list[str]:
    """Each value, ± half its interval where there is one."""
    values = [text(value, measure) for value in rows[measure]]
    if found is None:
        return values
    own = found.measures[(found.measures["tier"] == tier) & (found.measures["measure"] == measure)]
    halves = (own["high"] - own["mean"]).set_axis(own["strategy"]).reindex(rows["strategy"])
    return [
        value if pd.isna(half) or not half else f"{value.removesuffix(' %')} ± {text(half, measure)}"
        for value, half in zip(values, halves, strict=True)
    ]


def made_by(manifest: Mapping[str, Any]) -> dict[str, object]:
    """What a run was made of, by its manifest: for the end of a page."""
    told = {
        "engine": manifest["engine"],
        "seed": manifest["seed"],
        "the trace starts": manifest["trace_start"],
        "creates left out before": f"{manifest['warm_up_s']:,.0f} s" if "warm_up_s" in manifest else None,
        "versions": ", ".join(
            f"{name} {version}" for name, version in manifest["versions"].items() if version
        ),
        **{f"SHA-256 of {name}": digest for name, digest in manifest["sha256"].items()},
    }
    return {name: value for name, value in told.items() if value is not None}


# -- the page ------------------------------------------------------------------------------------------


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("sim", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _page(
    title: str,
    about: str,
    sections: Sequence[Section],
    made: Mapping[str, object],
    conf: Mapping[str, Any] | None = None,
) -> str:
    folder = files("sim") / "templates"
    style, script = (Markup((folder / name).read_text("utf-8")) for name in ("report.css", "report.js"))
    return (
        _environment()
        .get_template("report.html.j2")
        .render(title=title, about=about, sections=sections, made=made, conf=conf, style=style, script=script)
    )
