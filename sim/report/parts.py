"""The sections of the page. Each has text, pictures, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
from markupsafe import Markup

from sim import plots
from sim.analysis.comparison import counted
from sim.analysis.curves import Curves
from sim.analysis.findings import findings, most
from sim.analysis.wording import Finding
from sim.inputs.hosts import backend_of
from sim.inputs.limits import MAX_COUNT, MAX_SIZE
from sim.inputs.scenario import Case
from sim.model.rules import bound_of, provision_limit_gib
from sim.model.usage import ALL, OWNERS
from sim.planner.answer import Whole
from sim.plots.frame import REACH
from sim.report.aggregates import EARLY_S, Aggregates, aggregates, by_worth
from sim.report.explore import Panel
from sim.report.figures import SIZE, Pictures
from sim.report.numbers import Numbers, numbers

POOLS = 6  # whose pictures are drawn; of the others there are numbers in the run's own tables


@dataclass(frozen=True)
class Group:
    """Pictures under one title, which folds them away (`pairs`: two in a row)."""

    title: str
    pictures: list[Markup]
    numbers: list[Numbers] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    tables: list[Numbers] = field(default_factory=list)
    open: bool = True
    pairs: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page with its own title. It folds `tables` and `numbers` away; paper has the tables.
    `shown` are tables that it does not fold away."""

    id: str
    title: str
    text: list[str] = field(default_factory=list)
    pictures: list[Markup] = field(default_factory=list)
    numbers: list[Numbers] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    tables: list[Numbers] = field(default_factory=list)
    lists: Sequence[tuple[str, Sequence[str]]] = field(default_factory=list)
    pairs: bool = False
    panel: Panel | None = None
    shown: list[Numbers] = field(default_factory=list)


@dataclass(frozen=True)
class Ran:
    """A run that the page shows: its name there, its strategy and case, and its results."""

    name: str
    strategy: str
    case: Case
    aggregates: Aggregates
    findings: Sequence[Finding]


def ran(name: str, of: Whole, warm_up_s: float) -> Ran:
    """A run with its tables as the page shows it."""
    records = counted(of.records, warm_up_s)
    lines = findings(records, of.case, of.strategy)
    return Ran(name, of.strategy, of.case, aggregates(records, of.case, warm_up_s), lines)


def curves_section(
    draw: Pictures,
    case: Case,
    strategy: str,
    curves: Curves,
    recommended: Mapping[str, Mapping[str, int]] | None = None,
    simulated: Mapping[tuple[str, str], pd.DataFrame] | None = None,
) -> Section:
    """Hits against the limits of the cache, per pool, for the look-ups of a strategy.

    `recommended`: by backend and option; `simulated`: by backend and option, for `plots.hit_rate_by_limit`.
    """
    sets = curves.working_set
    busy = sets.sort_values("requests", ascending=False, kind="stable")["host"].head(POOLS)
    groups = []
    for row in sets[sets["host"].isin(busy)].to_dict("records"):
        host, backend = row["host"], backend_of(row["host"])
        if not row["requests"]:
            continue
        pictures = []
        for limit, used, unit in ((MAX_COUNT, "images", "entries"), (MAX_SIZE, "gib", "GiB")):
            of = curves.curve[(curves.curve["name"] == host) & (curves.curve["limit"] == limit)]
            today = row[limit] if row["image_volume_cache_enabled"] else None
            chosen = (recommended or {}).get(backend, {}).get(limit)
            of = of[of["value"] <= 1.3 * max(row[used], today or 0, chosen or 0)]
            label = (
                f"{host}: hit rate against {unit} of the cache; all {row['requests']:,} look-ups could hit"
                f" {of['hit_rate'].max():.1%}; working set {row[used]:,} {unit}; today"
                f" {limit_text(today)}{'' if chosen is None else f'; recommended {limit_text(chosen)}'}"
            )
            pictures.append(
                draw(
                    plots.hit_rate_by_limit,
                    of,
                    label=label,
                    title=host,
                    today=today,
                    recommended=chosen,
                    working_set=row[used],
                    simulated=(simulated or {}).get((backend, limit)),
                )
            )
        groups.append(Group(f"{host} ({row['volume_type']})", pictures, pairs=True))
    return Section(
        "cache-size",
        "Hit rate against cache size",
        [
            f"The look-ups of {strategy}. "
            "Each limit alone, by the rules of the cache without time: fills at the same moment, failures "
            "and clone limits are left out. The working set is where more space brings nothing. Shaded are "
            "95 % intervals, from a bootstrap over the days (or tenths) of the history.",
            *(["Simulated are runs with the other limit as recommended."] if simulated else []),
            *_left_out(len(sets), len(groups), "the tables"),
        ],
        groups=groups,
        numbers=[
            numbers(sets, "Working sets, and hits with today's limits", "working-set.csv"),
            numbers(curves.curve[curves.curve["scope"] == "pool"], "Curves", "curves.csv", labels=2),
        ],
    )


def limit_text(limit: int | None) -> str:
    """A limit of the cache in words; None: there is no cache."""
    return "off" if limit is None else f"{limit:,}" if limit else "no limit"


def _left_out(there: int, shown: int, where: str) -> list[str]:
    return [f"Shown are the {shown} busiest of {there:,} pools; all are in {where}."] if there > shown else []


def strategies_section(
    draw: Pictures, summaries: pd.DataFrame, certain: pd.DataFrame | None, title: str
) -> Section:
    """Strategies side by side, in all and by tier, and which of them are worth their price.

    Failed creates include those without an image.
    """
    table = summaries
    if "other_errors" in summaries and summaries["other_errors"].any():
        summaries = summaries.assign(errors=summaries["errors"] + summaries["other_errors"])
        certain = None if certain is None else certain[certain["measure"] != "errors"]
    tiers = list(dict.fromkeys(summaries["tier"]))
    shown = [ALL, *(tier for tier in tiers if tier != ALL)] if len(tiers) > 2 else tiers[:1]
    priced = (summaries["price_month"] > 0).any()
    cost = "price_month" if priced else "image_provisioned_gib_mean"
    groups = []
    for tier in shown:
        rows = summaries[summaries["tier"] == tier]
        sure = None if certain is None else certain[certain["tier"] == tier]
        best = rows.loc[rows["clone_hit_rate"].fillna(-1).idxmax()]
        measures = ["clone_hit_rate", "create_s_mean", "create_s_p95", "image_provisioned_gib_mean"]
        measures += ["price_month"] if priced else []
        measures += ["errors"] if summaries["errors"].any() else []
        pictures = [
            draw(
                plots.by_strategy,
                rows,
                measure,
                label=f"{tier}: {plots.MEASURES[measure]} by strategy; numbers are in this section's table",
                size=(SIZE[0], 1.0 + 0.32 * len(rows)),
                certain=sure,
            )
            for measure in measures
            if measure in rows
        ]
        label = (
            f"{tier}: clone hits against {plots.MEASURES[cost]}; most hits: {best['strategy']},"
            f" {best['clone_hit_rate']:.1%}"
        )
        if cost in rows:
            pictures.append(draw(plots.pareto, rows, label=label, cost=cost))
        groups.append(Group(_tier(tier), pictures, open=tier == shown[0]))
    text = "On the line of the last picture is whatever no other is both cheaper and better than."
    if certain is not None and len(certain):
        text += " Lines across the ends of bars are 95 % intervals."
    return Section(
        "strategies",
        title,
        [text],
        groups=groups,
        numbers=[numbers(table, "All figures", "summary.csv", labels=2)],
    )


def _tier(tier: str) -> str:
    return "All tiers" if tier == ALL else f"Tier {tier}"


def space_section(draw: Pictures, runs: Sequence[Ran], best: str) -> Section:
    """Volumes and space over time per pool, against the limits of the array."""
    groups = []
    for run in runs:
        space = run.aggregates.space
        if space.empty:
            continue
        hosts = _fullest(run)
        pictures = []
        for host in hosts:
            of = space[space["host"] == host]
            for quantity, limits in _limits(run.case, host, of).items():
                label = _space_label(run, host, of, quantity, limits)
                told = "".join(f", {name} {at:,.0f}" for name, at in limits.items() if at is not None)
                pictures.append(
                    draw(
                        plots.space_over_time,
                        of,
                        quantity,
                        label=label,
                        title=f"{host}{told}",
                        limits=limits,
                    )
                )
        pictures += _directories(draw, run)
        table = numbers(
            space[space["host"].isin(hosts)],
            f"{run.name}: what was on each pool",
            f"space-{run.name}.csv",
            labels=2,
        )
        left = _left_out(space["host"].nunique(), len(hosts), "the table `space` beside the run's others")
        groups.append(Group(run.name, pictures, [table], left, open=run.name == best, pairs=True))
    text = (
        "What is on each pool at 200 moments: users' volumes, and on them those of the cache and of the "
        "Cinder store. Space is what the array runs out of: physical where it is thin, provisioned where it "
        "is thick or near what its over-subscription allows. Limits are drawn where they are in reach. What "
        "comes between two moments is not seen. Conversion directories that have a limit are drawn, too, "
        "with the most that lay there since the moment before."
    )
    return Section("space", "Space and volumes over time", [text], groups=groups)


def _directories(draw: Pictures, run: Ran) -> list[Markup]:
    """The conversion directories that have a limit, over time; the fullest nodes."""
    table, limits = run.aggregates.directories, run.case.scenario.conversion_limits()
    limited = {node: gib for node, gib in limits.items() if gib is not None}
    peaks = table.groupby("node", sort=False)["image_conversion_peak_gib"].max()
    fullest = sorted(limited, key=lambda node: peaks[node] / limited[node], reverse=True)[:POOLS]
    return [
        draw(
            plots.conversion_over_time,
            table[table["node"] == node],
            label=f"{run.name}, {node}: GiB in the conversion directory over time, at most {peaks[node]:,.1f}"
            f" of {limited[node]:,g}",
            title=f"{node}, image_conversion_gib {limited[node]:,g}",
            limit=limited[node],
        )
        for node in limited
        if node in fullest
    ]


def _fullest(run: Ran) -> list[str]:
    """The pools with the most volumes, in the scenario's order."""
    space = run.aggregates.space
    total = space[[f"{owner}_volumes" for owner in OWNERS]].sum(axis=1)
    peaks = total.groupby(space["host"], sort=False).max().sort_values(ascending=False, kind="stable")
    chosen = set(peaks.head(POOLS).index)
    return [host for host in run.case.scenario.pools() if host in chosen]


def _limits(case: Case, host: str, space: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """The limit of each quantity: space as the array counts it, and promised space if its limit is near."""
    backend = case.scenario.backend_at(host)
    pool = case.scenario.pools()[host]
    most: dict[str, float | None] = {"max_volumes": pool.max_volumes}
    if len(backend.pools) == 1 or pool.max_volumes is None:
        most["max_volumes of the array"] = backend.max_volumes
    capacity: dict[str, float | None] = {"capacity": pool.capacity_gib}
    if not backend.thin:
        return {"volumes": most, "provisioned_gib": capacity}
    limits: dict[str, dict[str, float | None]] = {"volumes": most, "physical_gib": capacity}
    promised = provision_limit_gib(
        bound_of(pool.capacity_gib), backend.max_over_subscription_ratio, backend.thin
    )
    if promised <= REACH * space[[f"{owner}_provisioned_gib" for owner in OWNERS]].sum(axis=1).max():
        limits["provisioned_gib"] = {"at most": promised}
    return limits


def _space_label(
    run: Ran, host: str, of: pd.DataFrame, quantity: str, limits: Mapping[str, float | None]
) -> str:
    images = of[f"cache_{quantity}"] + of[f"store_{quantity}"]
    total = images + of[f"user_{quantity}"]
    told = "".join(f", {name} {at:,.0f}" for name, at in limits.items() if at is not None)
    return (
        f"{run.name}, {host}: {quantity.replace('_gib', ' GiB')} over time, at most {total.max():,.0f},"
        f" of which image-volumes at most {images.max():,.0f}{told or ', without a limit'}"
    )


def seconds_section(draw: Pictures, runs: Sequence[Ran]) -> Section:
    """Seconds of creates, by the source of the volume."""
    tables, pictures, waits = [], [], []
    for run in runs:
        seconds = run.aggregates.seconds
        if seconds.empty:
            continue
        limit = run.case.scenario.boot_timeout_s
        late = int(seconds.loc[seconds["waited"], "creates"].sum())
        label = (
            f"{run.name}: {seconds['creates'].sum():,} creates by the seconds they took;"
            f" {late:,} of them waited behind a fill"
        )
        rows = len(seconds[["source", "waited"]].drop_duplicates())
        size = (SIZE[0], 1.0 + 0.45 * rows)
        pictures.append(
            draw(plots.create_seconds, seconds, label=label, title=run.name, size=size, limit_s=limit)
        )
        tables.append(seconds.assign(name=run.name))
        if len(run.aggregates.waits):
            waits.append(run.aggregates.waits.assign(name=run.name))
    waited = _first(pd.concat(waits), "name") if waits else pd.DataFrame()
    if not tables:
        return Section("seconds", "Create seconds by source", ["No create succeeded."])
    return Section(
        "seconds",
        "Create seconds by source",
        [
            "How many creates took how long, by what made the volume: each row is as high as its most "
            "frequent step, its number how many there are. Hatched are those that waited for another create "
            "of the same image, which was filling the cache: Cinder lets one at a time."
        ],
        pictures,
        pairs=True,
        tables=[numbers(waited, "Waits behind a fill", "waits.csv", labels=2)] if len(waited) else [],
        numbers=[
            numbers(_first(pd.concat(tables), "name"), "Creates by seconds", "create-seconds.csv", labels=2)
        ],
    )


def _first(table: pd.DataFrame, column: str) -> pd.DataFrame:
    return table[[column, *(name for name in table if name != column)]].reset_index(drop=True)


TOP = 8  # images in a table that is shown
FINDINGS = 20  # lines of a run


def images_section(draw: Pictures, runs: Sequence[Ran]) -> Section:
    """Images that earn their place in the cache, and images that it evicted too soon."""
    groups: list[Group] = []
    for run in runs:
        images, early, counts = run.aggregates.images, run.aggregates.early, run.aggregates.counts
        if images.empty:
            continue
        label = (
            f"{run.name}: {counts['images']:,} images on pools, hits against GiB-days held;"
            f" {counts['unused']:,} had no hit"
        )
        columns = [
            *("name", "host", "size_gib", "gib_days", "hits", "hits_per_gib_day"),
            *("evictions", "evicted_early"),
        ]
        ranked = by_worth(images)
        least = ranked.head(TOP)
        most = ranked.iloc[::-1].head(TOP)
        lines = [
            f"{counts['evicted_early']:,} of {counts['evictions']:,} evictions came within"
            f" {EARLY_S / 3600:g} h before a download of the same image on the same pool."
        ]
        told = few = ""
        if len(images) < counts["images"]:
            told = f", {len(images):,} of {counts['images']:,}: what held most, earned least and most"
            lines.append(
                f"Shown are {len(images):,} of {counts['images']:,} images on pools: those that held"
                " most, earned least and earned most."
            )
        if len(early) < counts["evicted_early"]:
            few = f", the {len(early):,} soonest"
        shown = [
            numbers(least[columns], f"{run.name}: earn least, by hits per GiB-day", f"least-{run.name}.csv"),
            numbers(most[columns], f"{run.name}: earn most", f"most-{run.name}.csv"),
        ]
        tables = [numbers(images, f"{run.name}: images by pool{told}", f"images-{run.name}.csv", labels=2)]
        if len(early):
            tables.append(
                numbers(
                    early, f"{run.name}: evicted just before use{few}", f"evicted-{run.name}.csv", labels=2
                )
            )
        picture = draw(plots.images_worth, images, label=label)
        groups.append(Group(run.name, [picture], tables, lines, shown, open=not groups))
    text = "A hit saves a download; a GiB-day is what it costs to be ready for one."
    if not groups:
        text = "No image was in a cache, or the trace was too large for memory to tell which."
    return Section("images", "Which images earn their place", [text], groups=groups)


def explore_section(panel: Panel) -> Section:
    """The panel that answers "and what if" in the page."""
    lines = [
        f"Every figure here comes from one of {len(panel.points):,} simulated points. What was not simulated"
        " says so, and shows the two points beside it; nothing is guessed between them."
    ]
    lines += [panel.note] if panel.note else []
    return Section("explore", "Explore: and what if?", lines, panel=panel)


def of_runs(draw: Pictures, runs: Sequence[Ran], best: str) -> list[Section]:
    """Sections on runs: over time, by create, by image and in words. The pictures of `best` are unfolded."""
    return [
        space_section(draw, runs, best),
        seconds_section(draw, runs),
        images_section(draw, runs),
        findings_section(runs),
    ]


def findings_section(runs: Sequence[Ran]) -> Section:
    """The findings of each run, what costs creates most first."""
    lists = [(run.name, _costliest(run.findings)) for run in runs if run.findings]
    return Section("findings", "What stood out", [] if lists else ["Nothing did."], lists=lists)


def _costliest(findings: Sequence[Finding]) -> list[str]:
    left = len(findings) - FINDINGS
    more = [f"{left:,} more cost less: cinder-cache compare --all-findings prints them"] if left > 0 else []
    return [*most(findings, FINDINGS), *more]
