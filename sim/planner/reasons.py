"""The reasons for a plan: the bounds that bind, and why the other strategies lost."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.inputs.hosts import backend_of
from sim.inputs.limits import MAX_SIZE, Limits
from sim.inputs.scenario import Case
from sim.model.records import Records
from sim.model.rules import cache_refuses
from sim.planner.measured import tiers_of, volume_limits
from sim.planner.requirements import Requirement
from sim.planner.search import ENOUGH, Confirmed, Plan
from sim.sweep.results import ALL

Reason = dict[str, Any]


def binding(plan: Plan, records: Records, planned: Case) -> list[Reason]:
    """Why limits are not smaller or larger, and what an operator should know about them.

    `records` come from a full run of the plan on `planned`. Each reason has `constraint`, `where` (a
    tier, `all`, a backend or a host) and `text`.
    """
    return [
        *_short(plan),
        *_given_up(plan),
        *_grid(plan),
        *_errors(plan),
        *_arrays(plan),
        *_refused(plan, records, planned),
        *_convoy(records, planned),
    ]


def _reason(requirement: Requirement, text: str) -> Reason:
    return {"constraint": requirement.kind, "where": requirement.where, "text": text}


def _short(plan: Plan) -> list[Reason]:
    """The bounds that are not kept, and how near the plan comes."""
    found = []
    for each in plan.best.broken:
        near = each.nearest(plan.best.margins[each])
        sure = ", at the worse end of its interval" if each.sure and plan.task.targets.confidence else ""
        text = f"cannot be kept: {each.text}" + (f"; the plan has {near}{sure}" if near else "")
        found.append(_reason(each, text))
    return found


def _grid(plan: Plan) -> list[Reason]:
    """The bounds that the next smaller and the next larger limits of each backend break."""
    chooser, limits = plan.choosers.get(plan.best.choice.strategy), plan.best.choice.limits
    if chooser is None or limits.keys() != chooser.table.limits.keys():
        text = "nothing that was simulated is better than today's settings within the bounds"
        return [{"constraint": "today", "where": "all", "text": text}]
    found = []
    for steps, word in (
        (chooser.next_to(limits, False), "smaller"),
        (chooser.next_to(limits, True), "larger"),
    ):
        broken: dict[tuple[Requirement, str], list[Limits]] = {}
        for other in steps:
            (name,) = [name for name, each in other.items() if each != limits[name]]
            for requirement, margin in chooser.margins(other).items():
                if margin < 0 <= plan.best.margins[requirement] - ENOUGH:
                    broken.setdefault((requirement, name), []).append(other[name])
        for (requirement, name), which in broken.items():
            tried = " or ".join(told(each) for each in which)
            members = ", ".join(chooser.table.groups[name])
            text = f"{members}: with {word} limits ({tried}), not kept: {requirement.text}"
            found.append({"constraint": requirement.kind, "where": name, "text": text})
    return found


def _given_up(plan: Plan) -> list[Reason]:
    """What the grid would allow without one of the budgets and limits."""
    found, goals = [], plan.task.targets.goals
    if goals and not plan.best.short:
        return []
    for given_up in plan.task.required:
        if given_up.goal:
            continue
        others = [each for each in plan.task.required if each != given_up]
        choices = [chooser.requiring(others).choose({}) for chooser in plan.choosers.values()]
        best = min(choices, key=lambda each: each.rank(goals))
        nearer = best.short < plan.best.short if goals else best.hits > _rate(plan.best) + 0.001
        margin = plan.choosers[best.strategy].margins(best.limits)[given_up]
        if nearer and margin < ENOUGH:
            reached = "everything else is kept" if not best.short else "a plan comes nearer"
            text = (
                f"if {given_up.words} of {given_up.where} may be {given_up.reached(margin):,.5g} instead of"
                f" {given_up.bound:,.5g}, {reached}: {100 * best.hits:.1f} % hits in all ({best.strategy})"
            )
            found.append(_reason(given_up, text))
    return found


def told(limits: Limits) -> str:
    """Limits in words."""
    if not limits.enabled:
        return "no cache"
    size = f"{limits.max_size_gb:,} GB" if limits.max_size_gb else "any GB"
    count = f"{limits.max_count:,} x" if limits.max_count else "any number"
    return f"{size}, {count}"


def _errors(plan: Plan) -> list[Reason]:
    """Tiers in which more creates fail than today."""
    today, planned = (tiers_of(plan.task.scenario, [runs]) for runs in (plan.today, plan.best.runs))
    found = []
    for tier in plan.task.scenario.tiers:
        before, after = (float(of[tier].failed(tier)[0].mean()) for of in (today, planned))
        if after > before:
            text = (
                f"{tier}: {after:,.0f} creates fail, today {before:,.0f}: image-volumes take places or clones"
            )
            found.append({"constraint": "errors", "where": tier, "text": text})
    return found


def _arrays(plan: Plan) -> list[Reason]:
    """Limits on volumes that the peak reaches, in the first replication."""
    scenario, rows, found = plan.task.scenario, plan.best.runs[0].rows, []
    for backend in scenario.backends:
        for of, limit in volume_limits(scenario, backend):
            peak = rows[of].volumes_peak or 0
            if peak >= limit - plan.task.targets.spare_volumes:
                text = f"{of[1]} has {peak:,} volumes at its peak, of {limit:,} that it takes"
                found.append({"constraint": "max_volumes", "where": of[1], "text": text})
    return found


def _refused(plan: Plan, records: Records, case: Case) -> list[Reason]:
    """Images larger than a cache: each create from them downloads, and holds the image's lock."""
    requests = records.requests[records.requests["source"] == "download"]
    found = []
    for name, limits in plan.best.choice.backends.items():
        if not limits.enabled:
            continue
        here = requests[requests["host"].astype(str).map(backend_of) == name]["image_id"]
        large = [i.image_id for i in case.images.values() if cache_refuses(i.virtual_gib, limits.max_size_gb)]
        refused = here[here.isin(large)]
        if len(refused):
            text = (
                f"{name} refuses {refused.nunique()} images larger than its {limits.max_size_gb:,} GB: "
                f"{len(refused):,} creates download one after another"
            )
            found.append({"constraint": MAX_SIZE, "where": name, "text": text})
    return found


def _convoy(records: Records, case: Case) -> list[Reason]:
    """Tiers whose slowest creates waited for the lock of their image, behind fills and downloads."""
    made = records.requests[records.requests["status"] == "available"]
    found = []
    for tier in case.scenario.tiers:
        of = made[made["volume_type"] == tier]
        seconds = of["end"] - of["time"]
        slowest = of[seconds > seconds.quantile(0.95)]
        waited = int((slowest["lock_wait_s"] > 0).sum())
        if waited > len(slowest) / 2:
            text = (
                f"{tier}: {waited:,} of the {len(slowest):,} slowest creates (5 %) waited for their image's "
                "lock, behind a download of it"
            )
            found.append({"constraint": "lock", "where": tier, "text": text})
    return found


def runners_up(plan: Plan) -> list[Reason]:
    """The other strategies at their best, and why each lost; hits and price of those that lack no more."""
    found: list[Reason] = [
        {"strategy": name, "text": "its image-volumes do not fit at the start: " + "; ".join(problems)}
        for name, problems in plan.misfits.items()
    ]
    for name, other in plan.found.items():
        if other is not plan.best:
            told = {"hit_rate": _rate(other), "price_month": _mean(other, "price_month")}
            figures = told if other.short <= plan.best.short else {}
            found.append({"strategy": name, "text": _lost(plan, other), **figures})
    return found


def _lost(plan: Plan, other: Confirmed) -> str:
    best, broken = plan.best, [each.text for each in other.broken]
    if other.short and not best.short:
        return "cannot keep " + "; nor ".join(broken)
    if other.short > best.short:
        return f"lacks more, with {_hits(other)} hits in all: " + "; ".join(broken)
    if not plan.task.targets.goals and _rate(other) < _rate(best):
        return f"{_hits(other)} hits, fewer than {_hits(best)}{_for_price(other, best)}"
    spent, least = (_mean(each, "image_provisioned_gib_mean") for each in (other, best))
    if best.short:
        return f"comes as near, with {spent:,.0f} GiB instead of {least:,.0f}"
    if round(spent) == round(least):
        return "keeps everything too, and takes no less space"
    return f"keeps everything too, with {spent:,.0f} GiB of image-volumes on average instead of {least:,.0f}"


def _for_price(other: Confirmed, best: Confirmed) -> str:
    mine, its = _mean(other, "price_month"), _mean(best, "price_month")
    return f", for {mine:,.3g} a month instead of {its:,.3g}" if mine < its else ""


def _rate(of: Confirmed) -> float:
    return _mean(of, "clone_hit_rate")


def _hits(of: Confirmed) -> str:
    return f"{100 * _rate(of):.1f} %"


def _mean(of: Confirmed, figure: str) -> float:
    return float(np.mean([result.rows["all", ALL].figures[figure] for result in of.runs]))
