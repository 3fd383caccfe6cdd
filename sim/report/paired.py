"""The page of two results side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from sim import plots
from sim.analysis.apart import FAILED
from sim.analysis.results import together
from sim.inputs.cells import csv_text
from sim.report import pair_words as words
from sim.report.figures import SIZE, Pictures
from sim.report.numbers import Numbers, numbers, text
from sim.report.page import page, write
from sim.report.pair import Difference, Pair, Report, less_text, place_text, table_of, what
from sim.report.parts import Group, Section
from sim.report.verdict import Verdict

SHOWN = 40  # settings and differences that are not folded away
PICTURES = (
    *("clone_hit_rate", "create_s_mean", "create_s_p95", "errors"),
    *("image_provisioned_gib_mean", "price_month"),
)
CERTAIN = ["tier", "strategy", "measure", "mean", "low", "high"]


def write_pair(report: Report, folder: Path) -> None:
    """Write `report.html`, `report.json`, `differing.csv` and `settings.csv`, in one go. Raises OSError."""
    with together(folder) as new:
        write(pair_page(report), new)
        every = [*report.differences, *report.same]
        texts = {
            "differing.csv": csv_text(table_of(every)),
            "settings.csv": csv_text(_settings_table(report)),
            "report.json": json.dumps(document(report), indent=2, allow_nan=False) + "\n",
        }
        for name, told in texts.items():
            (new / name).write_text(told, encoding="utf-8")


def document(report: Report) -> dict[str, Any]:
    """The report as JSON can hold it, with stable keys."""
    return {
        "a": _side(report, "a"),
        "b": _side(report, "b"),
        "verdict": words.sentences(report),
        "settings": [vars(each) for each in report.settings],
        "differences": _plain(table_of([*report.differences, *report.same])),
        "paired": {pair.name: pair.paired for pair in report.pairs},
        "only": report.only,
        "unknown": report.unknown,
    }


def _side(report: Report, letter: str) -> dict[str, Any]:
    side = getattr(report, letter)
    return {
        "path": str(side.path),
        "kind": side.kind,
        "scenario": side.scenario,
        "rows": [row.name for row in side.rows],
        "made": dict(side.made),
    }


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    objects = table.astype(object)
    return [
        {str(key): value for key, value in row.items()}
        for row in objects.where(table.notna(), None).to_dict("records")
    ]


def pair_page(report: Report) -> str:
    """The page of two results."""
    draw = Pictures()
    first = report.first
    note = " ".join(each for each in (words.kinds(report), words.how(report), *report.unknown) if each)
    verdict = Verdict(words.sentences(report), "", words.cards(first), note=note.strip(), before="A")
    sections = [
        Section("answer", "The answer"),
        _settings(report),
        _differences(report),
        *([_pictures(draw, first)] if first is not None and first.differences else []),
        _figures(report),
    ]
    about = " | ".join(words.about(letter, side) for letter, side in (("A", report.a), ("B", report.b)))
    title = " beside ".join(_names(report.a.path, report.b.path))
    return page(title, about, sections, _made(report), None, verdict)


def _names(*paths: Path) -> list[str]:
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) and all(names) else [str(path) for path in paths]


def _made(report: Report) -> dict[str, object]:
    told: dict[str, object] = {"A": report.a.path, "B": report.b.path}
    for name in {**report.a.made, **report.b.made}:
        a, b = report.a.made.get(name, "-"), report.b.made.get(name, "-")
        told[name] = a if a == b else f"A {a} | B {b}"
    return told


def _settings_table(report: Report) -> pd.DataFrame:
    rows = [(each.key, each.a, each.b, each.rows or "all") for each in report.settings]
    return pd.DataFrame(rows, columns=["setting", "A", "B", "rows"])


def _settings(report: Report) -> Section:
    table = _settings_table(report)
    if table.empty:
        known = "None, as far as both folders tell." if report.unknown else "None."
        return Section("settings", "Settings that differ", [known, *report.unknown])
    shown = numbers(table.head(SHOWN), "Settings that differ", "settings.csv")
    more = [numbers(table, "All settings that differ", "settings-all.csv")] if len(table) > SHOWN else []
    return Section("settings", "Settings that differ", report.unknown, shown=[shown], tables=more)


def _differences(report: Report) -> Section:
    differ = report.differences
    lines = [words.same(report), *report.only]
    shown = [_table(differ[:SHOWN], "What differs, most first", "differing.csv")] if differ else []
    more = [_table(differ, "All that differs", "differing-all.csv")] if len(differ) > SHOWN else []
    return Section("differences", "What differs", [line for line in lines if line], shown=shown, tables=more)


def _table(differences: list[Difference], caption: str, file: str) -> Numbers:
    told = [each.told for each in differences]
    cells = {
        "what": [what(each) for each in differences],
        "A": [a for a, _ in told],
        "B": [b for _, b in told],
        "B less A": [less_text(each) for each in differences],
        "B is": [each.change for each in differences],
    }
    table = table_of(differences)
    shown = numbers(pd.DataFrame(cells), caption, file, cells=cells)
    return replace(shown, href=numbers(table, caption, file).href)


def _pictures(draw: Pictures, pair: Pair) -> Section:
    """Both sides of the first pair as bars, with their intervals."""
    rows, certain = [], []
    tiers = [
        place[1] for place in dict.fromkeys(each.place for each in pair.differences) if place[0] == "tier"
    ]
    for tier in tiers:
        for name, told in (("A", pair.a), ("B", pair.b)):
            its = told.figures["tier", tier]
            rows.append(
                {"tier": tier, "strategy": name}
                | {measure: its[measure].mean if measure in its else float("nan") for measure in PICTURES}
                | {"errors": its[FAILED].mean if FAILED in its else float("nan")}
            )
            certain += [
                {"tier": tier, "strategy": name, "measure": "errors" if measure == FAILED else measure}
                | {"mean": value.mean, "low": value.low, "high": value.high}
                for measure, value in its.items()
                if value.bounded and measure in (FAILED, *PICTURES) and measure != "errors"
            ]
    table, sure = pd.DataFrame(rows), pd.DataFrame(certain, columns=CERTAIN)
    groups = [
        Group(
            place_text(("tier", tier)).capitalize(),
            list(_bars(draw, tier, table, sure)),
            open=tier == tiers[0],
        )
        for tier in tiers
    ]
    text = (
        "Lines across the ends of bars are 95 % intervals of each side alone; those of differences are above."
    )
    return Section("sides", f"A and B: {pair.name}", [text], groups=groups)


def _bars(draw: Pictures, tier: str, table: pd.DataFrame, certain: pd.DataFrame) -> Iterator[Markup]:
    rows, sure = (of[of["tier"] == tier] for of in (table, certain))
    for measure in PICTURES:
        if rows[measure].notna().all() and rows[measure].any():
            label = f"{tier}: {plots.MEASURES[measure]} of A and B; numbers are in the tables"
            size = (SIZE[0], 1.0 + 0.32 * len(rows))
            yield draw(plots.by_strategy, rows, measure, label=label, size=size, certain=sure)


def _figures(report: Report) -> Section:
    """Every figure that both have, folded away."""
    groups = []
    for pair in report.pairs:
        places = dict.fromkeys(place for place in pair.a.figures if place in pair.b.figures)
        rows = [
            {
                "where": place_text(place),
                "figure": name,
                "A": text(pair.a.figures[place][name].mean, name),
                "B": text(pair.b.figures[place][name].mean, name),
            }
            for place in places
            for name in pair.a.figures[place]
            if name in pair.b.figures[place]
        ]
        tables = [numbers(pd.DataFrame(rows), f"{pair.name}: every figure", f"{_file(pair)}.csv", labels=2)]
        tables.insert(0, _table(pair.differences, f"{pair.name}: B less A", f"less-{_file(pair)}.csv"))
        groups.append(Group(pair.name, [], [], [], tables, open=False))
    return Section("figures", "Every figure of both", groups=groups)


def _file(pair: Pair) -> str:
    return "-".join(pair.name.replace("|", " ").split())
