"""The page of an advice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sim.model.usage import ALL
from sim.planner.advise import Advice
from sim.planner.answer import whole
from sim.report import parts
from sim.report.deploy import Known, confs, ini
from sim.report.display_advise import NOTHING, TOO_LITTLE, WORDS, fine_print, hurt_text, undecided_lines
from sim.report.figures import Pictures
from sim.report.numbers import numbers, text
from sim.report.page import page
from sim.report.parts import Section
from sim.report.plan_text import counted
from sim.report.verdict import Action, Verdict, brings, cards_of, side_by_side

UNITS = {"p95_s": " s", "waited_h_month": " h", "errors": "", "price_month": ""}


def advice_page(found: Advice, known: Known, warm_up_s: float, made: Mapping[str, object]) -> str:
    """The page of an advice. `made`: how the page was made, for its end."""
    document, draw = found.document, Pictures()
    today = document["today"]["strategy"]
    runs = [parts.ran("today", whole(found.today, today), warm_up_s)]
    if document["actions"]:
        runs.append(parts.ran("with all", whole(found.last, found.strategy), warm_up_s))
    steps = [("today", document["today"]["tiers"])]
    steps += [
        (_step(number, document["actions"]), of["tiers"]) for number, of in enumerate(document["actions"], 1)
    ]
    sections = [
        Section("answer", "The answer"),
        parts.strategies_section(draw, *side_by_side(steps), "Today and with all actions"),
        *parts.of_runs(draw, runs, runs[-1].name),
        _tried(document),
    ]
    about = counted(document)
    lines = ini(confs(found, known)[1]).rstrip() or "# nothing changes"
    conf = {"title": "Lines for cinder.conf, as deploy/ has them for each way to deploy", "lines": lines}
    return page(f"{document['scenario']}: what to do", about, sections, made, conf, verdict_of(document))


def verdict_of(document: Mapping[str, Any]) -> Verdict:
    """What an advice says to a manager."""
    now, then = document["today"]["tiers"], document["with_all"]["tiers"]
    first = _first([action["action"] for action in document["actions"]])
    if not document["met"]:
        first = f"Not everything that you asked for can be kept. {first}"
    waits, costs = (
        f"{text(then[ALL][key], key)}{unit} (today {text(now[ALL][key], key)}{unit})"
        for key, unit in (("waited_h_month", " hours"), ("price_month", ""))
    )
    last = f"Users wait {waits} a month for their volumes, and image-volumes cost {costs} a month."
    about = f"Today is {document['today']['strategy']}, with the limits of the scenario."
    undecided = undecided_lines(document)
    waits_for = [" ".join([TOO_LITTLE[document["intervals_of"]], *undecided])] if undecided else []
    actions = [_action(action) for action in document["actions"]]
    cards = cards_of(now, then)
    sentences = [first, brings(now, then), last, *waits_for]
    return Verdict(sentences, about, cards, actions, fine_print(document))


def _first(actions: Sequence[str]) -> str:
    """What to do, so that nobody has to look for it below the figures."""
    if not actions:
        return NOTHING
    if len(actions) == 1:
        return f"Do one thing: {actions[0]}."
    return f"Do the {len(actions)} things below. Begin with this: {actions[0]}."


def _step(number: int, actions: Sequence[object]) -> str:
    """The actions up to a number, as pictures name them."""
    return "with all" if number == len(actions) else "with 1" if number == 1 else f"with 1 to {number}"


def _action(action: Mapping[str, Any]) -> Action:
    gain = action["gain"][ALL]
    told = [f"hit rate {100 * gain['hit_rate']:+.1f} points"]
    told += [
        f"{WORDS[key]} {gain[key]:+,.3g}{unit}"
        for key, unit in UNITS.items()
        if gain[key] is not None and f"{abs(gain[key]):.3g}" != "0"
    ]
    takes = f"Effort: {action['effort']}. File: {action['file']}."
    if action["pays_with_next"]:
        takes += " It pays only together with what follows."
    hurts = "".join(f" {hurt_text(hurt)}" for hurt in action["hurts"])
    what = action["action"]
    return Action(f"{what[0].upper()}{what[1:]}.", f"It brings: {'; '.join(told)}.", f"{takes}{hurts}")


def _tried(document: Mapping[str, Any]) -> Section:
    saves = ["saves_month", "saves_month_low", "saves_month_high", "rests_on", "of", "needed", "worth_it"]
    columns = ["action", "effort", *saves]
    table = pd.DataFrame(document["tried"], columns=columns)
    lines = [
        "Every change that was tried alone, and what it saves a month: waits and failures have a price. All"
        " intervals hold together. A saving rests on the days, or replications, that differ from today."
    ]
    return Section("tried", "What was tried", lines, tables=[numbers(table, "Each alone", "tried.csv")])
