"""The page of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sim import plots
from sim.analysis.curves import curve
from sim.analysis.results import together
from sim.inputs.limits import ENABLED, MAX_COUNT, MAX_SIZE, Limits
from sim.inputs.problems import BadInput
from sim.inputs.strategies import STRATEGIES
from sim.model.usage import ALL
from sim.planner.answer import Answer
from sim.report import parts
from sim.report.explore import plan_panel
from sim.report.figures import Pictures
from sim.report.numbers import Numbers, numbers, text
from sim.report.page import made_of, page, write
from sim.report.parts import Group, Section
from sim.report.plan_text import changed, counted, fine_print
from sim.report.verdict import Verdict, brings, cards_of, costs, side_by_side

FIGURES = ("hit_rate", "p95_s", "errors", "space_gib_mean", "space_gib_peak", "price_month")
FEW = 3  # points of a picture


def write_plan(answer: Answer, folder: Path) -> None:
    """Write the files of a plan and its `report.html`, all in one go. Raises OSError.

    `answer.drawn` is from `drawn_of`, if there is any.
    """
    made = made_of(answer.planned.case, "fast", answer.document["warm_up_s"])
    with together(folder) as new:
        answer.write(new)
        write(plan_page(answer, made), new)


def drawn_of(answer: Answer) -> list[Section]:
    """The sections with pictures, which take seconds. They need no more than the settings of a plan."""
    document, draw = answer.document, Pictures()
    runs = [
        parts.ran(name, of, document["warm_up_s"])
        for name, of in (("today", answer.today), ("plan", answer.planned))
    ]
    steps = [("today", document["today"]["tiers"]), ("plan", document["tiers"])]
    return [
        *_explore(answer),
        *_curves(draw, answer),
        _trade_offs(draw, answer),
        parts.strategies_section(draw, *side_by_side(steps), "Today and the plan side by side"),
        *parts.of_runs(draw, runs, "plan"),
    ]


def plan_page(answer: Answer, made: Mapping[str, object]) -> str:
    """The page of a plan. `made`: how the page was made, for its end."""
    document = answer.document
    sections = [
        Section("answer", "The answer", tables=[_limits(document), _against_today(document)]),
        Section("why", "Why", lists=_why(document), tables=_tests(document)),
        *(answer.drawn or drawn_of(answer)),
    ]
    lines = [document["cinder_conf"], *(f"# {command}" for command in document["quota"]["commands"])]
    conf = {"title": "Lines for cinder.conf", "lines": "\n".join(lines)}
    about = counted(document)
    if document["intervals"]["of"] == "replications":
        about += "; over time and by image, the first replication is shown"
    return page(f"{document['scenario']}: the plan", about, sections, made, conf, verdict_of(document))


def verdict_of(document: Mapping[str, Any]) -> Verdict:
    """What a plan says to a manager."""
    now, then = document["today"]["tiers"], document["tiers"]
    strategy, today = document["strategy"], document["today"]["strategy"]
    options = (ENABLED, MAX_SIZE, MAX_COUNT)
    same = strategy == today and all(
        each[option] == document["today"]["backends"][name][option]
        for name, each in document["backends"].items()
        for option in options
    )
    to_do = f"Keep {strategy} with today's limits" if same else f"Run {strategy} with the limits below"
    if document["met"]:
        asked = any(each["asked"] for each in document["targets"])
        why = "it keeps everything that you asked for" if asked else "no other choice has more clone hits"
        first = f"{to_do}: {why}{'' if asked else ' without more failed creates'}."
    else:
        first = f"Not everything that you asked for can be kept. {to_do}: it comes nearest."
    lacks = [f"{each['text']}." for each in document["binding"]][:1] if not document["met"] else []
    last = "".join(f"{line[0].upper()}{line[1:]}" for line in lacks) or costs(now, then) + _cheaper(document)
    about = f"Today is {today} with the limits of the scenario{changed(document)}."
    return Verdict([first, brings(now, then), last], about, cards_of(now, then), note=fine_print(document))


def _cheaper(document: Mapping[str, Any]) -> str:
    """The cheapest other strategy that has as many hits within the interval, in words; '' without one."""
    own = document["tiers"][ALL]
    least, price = own["hit_rate_low"], own["price_month"]
    near = [
        each
        for each in document["runners_up"]
        if least is not None and each.get("hit_rate", -1) >= least and each["price_month"] < price
    ]
    if not near or any(each["asked"] for each in document["targets"]):
        return ""
    best = min(near, key=lambda each: float(each["price_month"]))
    hits, cost = text(best["hit_rate"], "hit_rate"), text(best["price_month"], "price_month")
    return f" With {best['strategy']}, {hits} are clones, as many within the interval, for {cost} a month."


def _limits(document: Mapping[str, Any]) -> Numbers:
    """One row per backend: its limits in the plan and today, and what the plan brings."""
    rows = []
    for name, of in document["backends"].items():
        now = document["today"]["backends"][name]
        limits = {
            f"{limit.removeprefix('image_volume_cache_')}{when}": each[limit] if each[ENABLED] else None
            for limit in (MAX_SIZE, MAX_COUNT)
            for when, each in (("", of), (", today", now))
        }
        rows.append(
            {
                "backend": name,
                **limits,
                **_with_intervals(of, ("hit_rate", "p95_s")),
                "volumes_peak": of["volumes_peak"],
            }
        )
    table = pd.DataFrame(rows)
    cells = {
        str(column): [
            "off" if pd.isna(limit) else f"{int(limit):,}" if limit else "no limit" for limit in table[column]
        ]
        for column in table
        if str(column).startswith("max_")
    }
    cells |= {
        name: [_between(of, name) for of in document["backends"].values()] for name in ("hit_rate", "p95_s")
    }
    shown = table[[name for name in table if not str(name).endswith(("_low", "_high"))]]
    return numbers(shown, "Limits of every backend's cache", "plan.csv", cells=cells)


def _against_today(document: Mapping[str, Any]) -> Numbers:
    pairs = [
        (tier, word, of[tier])
        for tier in document["tiers"]
        for word, of in (("today", document["today"]["tiers"]), ("plan", document["tiers"]))
        if not (tier == ALL and len(document["tiers"]) == 2)
    ]
    table = pd.DataFrame(
        [{"tier": tier, "limits": word, **_with_intervals(of, FIGURES)} for tier, word, of in pairs]
    )
    cells = {name: [_between(of, name) for _, _, of in pairs] for name in FIGURES}
    shown = table[["tier", "limits", *FIGURES]]
    told = f"Against today ({document['today']['strategy']})"
    return numbers(shown, told, "against-today.csv", labels=2, cells=cells)


def _with_intervals(of: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    ends = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    return {name: of[name] for name in ends if name in of}


def _between(of: Mapping[str, Any], name: str) -> str:
    """A figure, and its interval where it has one."""
    told, low, high = text(of[name], name), of.get(f"{name}_low"), of.get(f"{name}_high")
    if low is None or high is None or low == high:
        return told
    low, high = text(low, name).removesuffix(" %"), text(high, name).removesuffix(" %")
    return f"{told} ({low} to {high})"


def _why(document: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    targets = [
        f"{each['text']}: {'kept' if each['met'] else 'not kept'}"
        for each in document["targets"]
        if each["asked"]
    ]
    lists = [
        ("Asked for", targets),
        ("What decides", [each["text"] for each in document["binding"]]),
        ("And not", [f"{each['strategy']}: {each['text']}" for each in document["runners_up"]]),
    ]
    return [(title, lines) for title, lines in lists if lines]


def _tests(document: Mapping[str, Any]) -> list[Numbers]:
    """The plan under other inputs, and on the part of the trace that it was not made for."""
    tables = []
    if document.get("sensitivity"):
        rows = document["sensitivity"]
        table = pd.DataFrame(rows)[["change", "hit_rate", "p95_s", "errors", "met", "limits_factor"]]
        cells = {"hit_rate": [_between(row, "hit_rate") for row in rows]}
        tables.append(
            numbers(
                table.rename(
                    columns={"change": "if", "met": "kept", "limits_factor": "limits needed, times"}
                ),
                "What if",
                "what-if.csv",
                cells=cells,
            )
        )
    if "back_test" in document:
        rows = document["back_test"]
        names = ("hit_rate", "p95_s", "errors", "space_gib_mean", "space_gib_peak")
        cells = {name: [_between(row, name) for row in rows] for name in names}
        table = pd.DataFrame(rows)[["which", *names]]
        tables.append(numbers(table, "Back-test: on the rest of the trace", "back-test.csv", cells=cells))
    return tables


def _explore(answer: Answer) -> list[Section]:
    limits = {
        name: Limits(of[ENABLED], of[MAX_SIZE], of[MAX_COUNT])
        for name, of in answer.document["backends"].items()
    }
    panel = plan_panel(answer.planned.case, answer.explored, answer.document["strategy"], limits)
    return [] if panel is None else [parts.explore_section(panel)]


def _curves(draw: Pictures, answer: Answer) -> list[Section]:
    """Hit curves from the cache's rules, and the hits of runs with the plan's other limit."""
    case, strategy = answer.today.case, answer.planned.strategy
    if not STRATEGIES[strategy].image_volume_cache_enabled:
        return []
    try:
        curves = curve(case, strategy, engine="fast")
    except BadInput:  # another eviction than Cinder's
        return []
    chosen = {
        name: {limit: of[limit] for limit in (MAX_COUNT, MAX_SIZE)}
        for name, of in answer.document["backends"].items()
        if of[ENABLED]
    }
    of_strategy = answer.candidates[answer.candidates["strategy"] == strategy]
    simulated = {}
    for name, limits in chosen.items():
        for limit, other in ((MAX_COUNT, MAX_SIZE), (MAX_SIZE, MAX_COUNT)):
            of = of_strategy[
                (of_strategy["backend"] == name) & of_strategy[ENABLED] & (of_strategy[limit] > 0)
            ]
            of = of[of[other] == limits[other]].rename(columns={limit: "value"})
            if len(of) >= FEW and len(case.scenario.backends[name].pools) == 1:
                simulated[name, limit] = of[["value", "hit_rate", "hit_rate_low", "hit_rate_high"]]
    return [parts.curves_section(draw, case, strategy, curves, chosen, simulated)]


def _trade_offs(draw: Pictures, answer: Answer) -> Section:
    """Space against hits for all limits that were simulated, per backend."""
    document, pictures = answer.document, []
    own = answer.candidates[answer.candidates["strategy"] == document["strategy"]]
    for name, of in own.groupby("backend", sort=False):
        best, now = document["backends"][str(name)], document["today"]["backends"][str(name)]
        marked = {
            word: (each["space_gib_mean"], each["hit_rate"])
            for word, each in (("today", now), ("recommended", best))
            if each["hit_rate"] is not None
        }
        label = f"{name}: no creates"
        if best["hit_rate"] is not None:
            label = (
                f"{name}: hits against mean GiB of image-volumes for {len(of):,} pairs of limits;"
                f" recommended {best['hit_rate']:.1%} with {best['space_gib_mean']:,.0f} GiB"
            )
        options: dict[str, Any] = {
            "cost": "space_gib_mean",
            "worth": "hit_rate",
            "names": None,
            "marked": marked,
        }
        pictures.append(draw(plots.pareto, of, label=label, title=str(name), **options))
    text = "All limits that were simulated under the plan's strategy, each backend's alone."
    return Section(
        "trade-offs",
        "Hits against space",
        [text],
        groups=[Group("Backends", pictures)],
        numbers=[
            numbers(
                answer.frontier,
                "The front: limits to which no others are smaller and better",
                "frontier.csv",
                labels=2,
            )
        ],
    )
