"""What a report of two says in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sim.analysis.apart import FAILED
from sim.report.pair import MEASURES, Difference, Pair, Report, less_text
from sim.report.side import EVERY, MADE, Side
from sim.report.verdict import Figure

# What more of a measure is called, and less.
WORDS = {
    "clone_hit_rate": ("more creates are clones", "fewer creates are clones"),
    MADE: ("more of the creates that succeed are clones", "fewer of the creates that succeed are clones"),
    "create_s_mean": ("creates take longer on average", "creates take less time on average"),
    "create_s_p95": ("95 % of the creates take longer", "95 % of the creates take less time"),
    FAILED: ("more creates fail", "fewer creates fail"),
    "waited_h_month": ("users wait longer", "users wait less"),
    "image_provisioned_gib_mean": ("image-volumes take more space", "image-volumes take less space"),
    "price_month": ("image-volumes cost more", "image-volumes cost less"),
}
# What a figure is called below its number.
NAMES = {
    "clone_hit_rate": "of the creates are clones, without a download",
    MADE: "of the creates that succeed are clones",
    "create_s_p95": "is the longest that 95 % of the creates take",
    FAILED: "creates fail",
    "price_month": "is the price a month",
    "image_provisioned_gib_mean": "of image-volumes on average",
}
MANY = 12  # of a list in a sentence


def sentences(report: Report) -> list[str]:
    """The verdict: which side is better, in what, and how much differs in all."""
    first = report.first
    if first is None:
        return [f"A ({report.a.kind}) and B ({report.b.kind}) share nothing that can be compared."]
    every = [each for each in first.differences if each.place == EVERY]
    better, worse = (_listed(every, change) for change in ("better", "worse"))
    same_name = first.a.name == first.b.name
    where = f"{first.name if same_name else f'{first.a.name} in A, {first.b.name} in B'}; all creates"
    if better and worse:
        head = f"B is better than A in some figures and worse in others ({where})."
    elif better or worse:
        head = f"B is {'better' if better else 'worse'} than A ({where})."
    elif every:
        head = f"B and A do not differ by more than chance ({where})."
    else:
        head = f"No figure of all creates is in both ({first.name})."
    told = [f"{word}: {line}." for word, line in (("Better", better), ("Worse", worse)) if line]
    return [head, *([" ".join(told)] if told else []), counts(report)]


def _listed(differences: Sequence[Difference], change: str) -> str:
    lines = []
    for each in differences:
        if each.change == change:
            more, less = WORDS[each.measure]
            a, b = each.told
            lines.append(f"{more if each.less.mean > 0 else less} ({b}, A {a})")
    return "; ".join(lines)


def counts(report: Report) -> str:
    """How many figures differ, in all that both have."""
    differ = report.differences
    count = len(differ) + len(report.same)
    if not differ:
        return f"None of the {count:,} figures that both have differs."
    changes = Counter(each.change for each in differ)
    bare = sum(not each.less.bounded for each in differ)
    told = f"{len(differ):,} of the {count:,} figures that both have differ."
    told += f" Better with B: {changes['better']:,}. Worse: {changes['worse']:,}."
    return told + (f" Differ, but have no interval: {bare:,}." if bare else "")


def same(report: Report) -> str:
    """Say what is alike, in one line, or nothing if all differs."""
    found = Counter(MEASURES[each.measure][0] for each in report.same)
    if not found:
        return ""
    told = ", ".join(f"{name} ({count:,})" for name, count in found.items())
    return f"Alike, or apart by no more than chance: {told}."


def how(report: Report) -> str:
    """How the intervals of differences were found."""
    bounded = [each for pair in report.pairs for each in pair.differences if each.less.bounded]
    if not bounded:
        return "Not both have intervals: nobody can say whether a difference is more than chance."
    if all(pair.paired for pair in report.pairs):
        told = "Both ran the same creates: differences are paired, create by create or draw by draw."
    elif any(pair.paired for pair in report.pairs):
        told = (
            "Rows that ran the same creates are paired; the others are compared as if nothing connected them."
        )
    else:
        told = (
            "Differences are as if nothing connected A and B: with the same creates, their intervals are"
            " wider than they need to be."
        )
    return (
        f"In brackets: 95 % intervals of B less A. {told} A figure differs if 0 is outside. Of figures that"
        " are the same in truth, about one in twenty is outside by chance."
    )


def kinds(report: Report) -> str:
    """What sides of different kinds share; '' if they are of one kind."""
    a, b = report.a.kind, report.b.kind
    if a == b or not report.pairs:
        return ""
    shared = dict.fromkeys(MEASURES[each.measure][0] for pair in report.pairs for each in pair.differences)
    what = ", ".join(shared) or "no figure"
    rows = "; ".join(f"{pair.a.name} (A) beside {pair.b.name} (B)" for pair in report.pairs[:MANY])
    return f"A is of {a}, B of {b}. They share: {what}. Compared: {rows}."


def about(letter: str, side: Side) -> str:
    """A side in one line."""
    name = f", scenario {side.scenario}" if side.scenario else ""
    rows = ", ".join(row.name for row in side.rows[:MANY])
    return f"{letter}: {side.path} ({side.kind}{name}: {rows})"


def cards(pair: Pair | None) -> dict[str, list[Figure]]:
    """Three figures of each tier that both have: B's, with A's beside."""
    if pair is None:
        return {}
    found: dict[str, list[Figure]] = {}
    third = _third(pair.differences)
    for each in pair.differences:
        if each.place[0] == "tier" and each.measure in ("clone_hit_rate", MADE, "create_s_p95", third):
            title = "All tiers" if each.place == EVERY else f"Tier {each.place[1]}"
            a, b = each.told
            figure = Figure(b, NAMES[each.measure], f"B less A: {less_text(each)}", a, each.change)
            found.setdefault(title, []).append(figure)
    return found


def _third(differences: Sequence[Difference]) -> str:
    for measure in (FAILED, "price_month", "image_provisioned_gib_mean"):
        if any(each.measure == measure and (each.a.mean or each.b.mean) for each in differences):
            return measure
    return FAILED
