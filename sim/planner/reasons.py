"""Why a plan is what it is: which bounds bind where, and why the other strategies lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sim.inputs.limits import MAX_SIZE, Limits
from sim.inputs.scenario import Case
from sim.model.records import Records
from sim.planner.measured import scopes
from sim.planner.plan import ENOUGH, Confirmed, Plan
from sim.planner.requirements import Requirement

Reason = dict[str, Any]
WHAT = {
    "hit_rate": "the hit rate",
    "p95_s": "the 95th percentile of create seconds",
    "space_gib": "the space of image-volumes",
    "price_month": "the price of image-volumes",
    "errors": "failed creates",
    "spare_volumes": "places that stay free",
}


def binding(plan: Plan, records: Records, planned: Case) -> list[Reason]:
    """What keeps limits from being smaller or larger, and what to know of them.

    `records` are those of the plan simulated whole on `planned`. Each reason has `constraint`, `where` (a
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


def what(requirement: Requirement) -> str:
    """A requirement in words."""
    of = f" of {requirement.tier}" if requirement.tier else " in all"
    if requirement.kind == "hit_rate":
        bound = f"at least {100 * requirement.bound:g} %"
    elif requirement.kind == "spare_volumes":
        bound = f"at least {requirement.bound:g}"
    else:
        unit = {"p95_s": " s", "space_gib": " GiB", "price_month": " a month"}.get(requirement.kind, "")
        bound = f"at most {requirement.bound:g}{unit}"
    kept = "" if requirement.given else " (no more than today or without image-volumes)"
    return f"{WHAT[requirement.kind]}{of}: {bound}{kept}"


def _short(plan: Plan) -> list[Reason]:
    """The bounds that are not kept, and how near the plan comes."""
    return [
        {
            "constraint": each.kind,
            "where": each.tier or "all",
            "text": f"cannot be kept: {what(each)}{_nearest(plan, each, margin)}",
        }
        for each, margin in plan.best.margins.items()
        if margin < ENOUGH
    ]


def _nearest(plan: Plan, requirement: Requirement, margin: float) -> str:
    """How near; a 95th percentile's margin is a share of creates, which says little."""
    if requirement.kind == "p95_s":
        return ""
    value = requirement.bound + margin if requirement.least else requirement.bound - margin
    sure = ", at the worse end of its interval" if requirement.sure and plan.targets.confidence else ""
    return (
        f"; the plan has {100 * value:.1f} %{sure}"
        if requirement.kind == "hit_rate"
        else f"; the plan has {value:,.5g}{sure}"
    )


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
            text = f"{members}: with {word} limits ({tried}), not kept: {what(requirement)}"
            found.append({"constraint": requirement.kind, "where": name, "text": text})
    return found


def _given_up(plan: Plan) -> list[Reason]:
    """What could be had without one of the budgets and limits, as the grid has it."""
    found = []
    for given_up in plan.required:
        others = [each for each in plan.required if each != given_up]
        if given_up.goal or (plan.targets.goals and not plan.best.short):
            continue
        choices = [chooser.requiring(others).choose({}) for chooser in plan.choosers.values()]
        best = min(choices, key=lambda each: each.rank(plan.targets.goals))
        nearer = best.short < plan.best.short if plan.targets.goals else best.hits > _rate(plan.best) + 0.001
        margin = plan.choosers[best.strategy].margins(best.limits)[given_up]
        if nearer and margin < ENOUGH:
            value = given_up.bound + margin if given_up.least else given_up.bound - margin
            reached = "everything else is kept" if not best.short else "one comes nearer"
            text = (
                f"{reached} with {100 * best.hits:.1f} % hits in all ({best.strategy}), if {value:,.5g} "
                f"instead of {given_up.bound:,.5g} may be {WHAT[given_up.kind]} of {given_up.tier or 'all'}"
            )
            found.append({"constraint": given_up.kind, "where": given_up.tier or "all", "text": text})
    return found


def told(limits: Limits) -> str:
    """Limits in words."""
    if not limits.enabled:
        return "no cache"
    size = f"{limits.max_size_gb:,} GB" if limits.max_size_gb else "any GB"
    count = f"{limits.max_count:,} x" if limits.max_count else "any number"
    return f"{size}, {count}"


def _errors(plan: Plan) -> list[Reason]:
    """Tiers of which more creates fail than today."""
    scenario = plan.load.case.scenario
    today, planned = (scopes([cell], scenario) for cell in (plan.today, plan.best.cell))
    found = []
    for tier in scenario.tiers:
        before, after = (float(of[tier].failed(tier)[0].mean()) for of in (today, planned))
        if after > before:
            text = (
                f"{tier}: {after:,.0f} creates fail, today {before:,.0f}: image-volumes take places or clones"
            )
            found.append({"constraint": "errors", "where": tier, "text": text})
    return found


def _arrays(plan: Plan) -> list[Reason]:
    """Limits on volumes that the peak reaches."""
    scenario, found = plan.load.case.scenario, []
    for document in plan.best.cell[:1]:
        peaks = {(row["scope"], row["name"]): row.get("volumes_peak") for row in document["rows"]}
        for name, backend in scenario.backends.items():
            limits = {("pool", f"{name}#{pool}"): spec.max_volumes for pool, spec in backend.pools.items()}
            for of, limit in {**limits, ("backend", name): backend.max_volumes}.items():
                if limit is not None and peaks[of] >= limit - plan.targets.spare_volumes:
                    text = f"{of[1]} has {peaks[of]:,} volumes at its peak, of {limit:,} that it takes"
                    found.append({"constraint": "max_volumes", "where": of[1], "text": text})
    return found


def _refused(plan: Plan, records: Records, case: Case) -> list[Reason]:
    """Images that are larger than a cache: each create of them downloads, inside the image's lock."""
    from sim.model.arrays import GIB

    gib = {image.image_id: -(-image.virtual_size_bytes // GIB) for image in case.images.values()}
    requests = records.requests[records.requests["source"] == "download"]
    found = []
    for name, limits in plan.best.choice.backends.items():
        if not limits.enabled or not limits.max_size_gb:
            continue
        here = requests[requests["host"].astype(str).str.partition("#")[0] == name]["image_id"]
        refused = here[here.astype(str).map(gib) > limits.max_size_gb]
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
    """The other strategies at their best, and why each lost."""
    found = [
        {"strategy": name, "text": "its image-volumes do not fit at the start: " + "; ".join(problems)}
        for name, problems in plan.misfits.items()
    ]
    for name, other in plan.found.items():
        if other is not plan.best:
            found.append({"strategy": name, "text": _lost(plan, other)})
    return found


def _lost(plan: Plan, other: Confirmed) -> str:
    if other.short and not plan.best.short:
        broken = [what(each) for each, margin in other.margins.items() if margin < ENOUGH]
        return "cannot keep " + "; nor ".join(broken)
    best = plan.best
    if other.short > best.short:
        broken = [what(each) for each, margin in other.margins.items() if margin < ENOUGH]
        return f"lacks more, with {_hits(other)} hits in all: " + "; ".join(broken)
    if not plan.targets.goals and _rate(other) < _rate(best):
        return f"{_hits(other)} hits, fewer than {_hits(best)}"
    spent, least = (_space(each) for each in (other, best))
    text = f"keeps everything too, with {spent:,.0f} GiB of image-volumes on average instead of {least:,.0f}"
    if round(spent) == round(least):
        text = "keeps everything too, and takes no less space"
    return text if plan.best.short == 0 else f"comes as near, with {spent:,.0f} GiB instead of {least:,.0f}"


def _rate(of: Confirmed) -> float:
    return float(np.mean([row["clone_hit_rate"] for row in _all(of)]))


def _hits(of: Confirmed) -> str:
    return f"{100 * _rate(of):.1f} %"


def _space(of: Confirmed) -> float:
    return float(np.mean([row["image_provisioned_gib_mean"] for row in _all(of)]))


def _all(of: Confirmed) -> list[Mapping[str, Any]]:
    return [row for document in of.cell for row in document["rows"] if row["scope"] == "all"]
