"""The page of a comparison of strategies."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from sim.analysis.comparison import BASELINE
from sim.analysis.recommend import Advice, Raises, failed, means_of, most_hits, without_cache
from sim.analysis.rows import TODAY, Row
from sim.inputs.conf import conf_of_scenario
from sim.inputs.scenario import Case
from sim.model.usage import ALL
from sim.plots.frame import number
from sim.report import parts
from sim.report.figures import Pictures
from sim.report.numbers import Numbers, numbers, text
from sim.report.page import page
from sim.report.parts import Ran, Section
from sim.report.verdict import SUMMARY, Tiers, Verdict, brings, cards_of, costs, figures

if TYPE_CHECKING:
    from sim.analysis.comparison import Comparison
    from sim.analysis.curves import Curves

SHOWN = (
    *("clone_hit_rate", "create_s_mean", "create_s_p95", "errors", "other_errors", "price_month"),
    *("image_provisioned_gib_mean", "image_provisioned_gib_peak"),
    *("image_volumes_mean", "image_volumes_peak"),
    *("driver_hit_rate", "store_hit_rate", "cache_hit_rate", "create_s_p50"),
)
SELDOM = ("other_errors", "driver_hit_rate")  # left out where they are 0 throughout


def comparison_page(
    case: Case,
    summaries: pd.DataFrame,
    runs: Sequence[Ran],
    found: Comparison | None,
    curves: tuple[str, Curves] | None,
    uploads: pd.DataFrame,
    told: Told,
    made: Mapping[str, object],
) -> str:
    """The page that compares strategies on the same workload.

    `summaries`: rows of `sim.analysis.metrics.summary` for each strategy. `runs`: the runs whose tables were
    in memory. `found`: confidence intervals. `curves`: hit curves, and the strategy whose look-ups they are
    from. `uploads`: rows of `sim.analysis.metrics.uploads_of`. `told`: what is recommended, in words and as
    lines of `cinder.conf`. `made`: how the page was made, for its end.
    """
    draw = Pictures()
    creates = int(summaries["creates"].iloc[-1])
    about = f"{creates:,} creates from an image"
    summaries = means_of(summaries, found)
    if found is not None and found.of == "replications":
        about += f" in the first of {found.units:,} replications; over time and by image, the first is shown"
    certain = None if found is None else found.measures
    chosen = told.advice.row
    sections = [
        Section("answer", "The answer", tables=_answer(summaries, found)),
        Section("why", "Why", [*told.lines, *_figures(summaries, found)]),
        *([parts.curves_section(draw, case, *curves)] if curves is not None else []),
        parts.strategies_section(draw, summaries, certain, "Strategies side by side"),
        *([_uploads(uploads)] if len(uploads) else []),
        *parts.of_runs(draw, runs, chosen),
    ]
    conf = {"title": f"Lines for cinder.conf: {chosen}, with the scenario's limits", "lines": told.conf}
    title = f"{case.scenario.name}: strategies compared"
    verdict = verdict_of(case, summaries, found, told) if told.what else None
    return page(title, about, sections, made, conf, verdict)


def verdict_of(case: Case, summaries: pd.DataFrame, found: Comparison | None, told: Told) -> Verdict:
    """What a comparison says to a manager. `summaries`: means of all rows."""
    chosen, (today, about) = told.advice.row, _today(case, summaries)
    now, then = _now_and_then(case, summaries, found, told)
    note = ""
    if told.simulated is None and told.advice.backends:
        note = f"The figures are those of {chosen} with every cache on."
    keep = chosen == today and not told.advice.backends
    before = "today"
    if keep and chosen != BASELINE and BASELINE in set(summaries["strategy"]):
        now, before = _tiers(summaries, found, BASELINE), f"with {BASELINE}"
        about += (
            f" Nothing changes: beside its figures are those of {BASELINE}, where every create downloads."
        )
    why = [f"Tier {line}." for line in told.advice.why.values()]
    sentences = [
        f"{'Keep' if keep else 'Run'} {told.what}{_because(summaries, told)}.",
        brings(now, then, before),
        " ".join(why[:1]) or costs(now, then, before),
    ]
    return Verdict(sentences, about, cards_of(now, then), note=note, before=before)


def _because(summaries: pd.DataFrame, told: Told) -> str:
    """Why a row is recommended, where its cache need not wait anywhere."""
    best, chosen = most_hits(summaries), told.advice.row
    if told.advice.backends:
        return ""
    if chosen == best:
        return ": nothing else has more clone hits"
    rows = summaries[summaries["tier"] == ALL].set_index("strategy")
    lost = failed(rows)
    worth = "with fewer failed creates" if lost[chosen] < lost[best] else "in less space"
    worth = "for a lower price" if rows["price_month"][chosen] < rows["price_month"][best] else worth
    return f": its clone hits are within the interval of the most ({best}), {worth}"


def last_lines(case: Case, summaries: pd.DataFrame, found: Comparison | None, told: Told) -> list[str]:
    """What a comparison ends with in a terminal: what to run, and what that brings."""
    now, then = _now_and_then(case, means_of(summaries, found), found, told)
    return [told.lines[0], figures(now, then)]


def _now_and_then(
    case: Case, summaries: pd.DataFrame, found: Comparison | None, told: Told
) -> tuple[Tiers, Tiers]:
    """The figures of today's row and of what is recommended."""
    now = _tiers(summaries, found, _today(case, summaries)[0])
    if told.simulated is not None:
        return now, _tiers(told.simulated, None, told.advice.row)
    return now, _tiers(summaries, found, told.advice.row)


def _today(case: Case, summaries: pd.DataFrame) -> tuple[str, str]:
    """The row that is today, and a sentence that says so."""
    rows, strategy = set(summaries["strategy"]), case.scenario.todays_strategy()
    if TODAY in rows or (case.scenario.today in rows):
        return (TODAY if TODAY in rows else strategy), f"Today is {strategy}, as the scenario says."
    if strategy in rows:
        return strategy, f"Today is {strategy}, by the caches of the backends: the scenario does not say."
    other = BASELINE if BASELINE in rows else str(summaries["strategy"].iloc[0])
    return other, f"Today was not compared ({strategy}): today's figures are those of {other}."


def _tiers(
    summaries: pd.DataFrame, found: Comparison | None, strategy: str
) -> dict[str, dict[str, float | None]]:
    """The figures of a row by tier, as `sim.report.verdict` takes them."""
    told: dict[str, dict[str, float | None]] = {}
    for row in summaries[summaries["strategy"] == strategy].to_dict("records"):
        tier = str(row["tier"])
        its = told[tier] = {key: _known(row[measure]) for key, measure in SUMMARY.items()}
        its["errors"] = float(row["errors"] + row["other_errors"])
        if found is None:
            continue
        own = found.measures[
            (found.measures["tier"] == tier) & (found.measures["strategy"] == strategy)
        ].set_index("measure")
        for key, measure in SUMMARY.items():
            if measure in own.index and not (key == "errors" and row["other_errors"]):
                its |= {f"{key}_{end}": _known(own[end][measure]) for end in ("low", "high")}
    return told


def _known(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _uploads(uploads: pd.DataFrame) -> Section:
    told = "Images made of volumes: what that takes, and what later creates from these images were made of."
    return Section("uploads", "Uploads", [told], tables=[numbers(uploads, "Uploads", "uploads.csv")])


@dataclass(frozen=True)
class Told:
    """What a comparison recommends: the advice, sentences, and lines of `cinder.conf`.

    `what`: what to run, in words; '' if nothing is recommended. `simulated`: the summary of the row with its
    cache off where it should wait, if it should anywhere.
    """

    advice: Advice
    lines: list[str]
    conf: str
    what: str = ""
    simulated: pd.DataFrame | None = None


def told_of(
    row: Row, recommends: Advice, summaries: pd.DataFrame, raises: Raises, simulated: pd.DataFrame | None
) -> Told:
    """The recommendation in words.

    `row`: what to run, with its case. `summaries`: means of all rows. `raises`: by tier, what to raise first.
    `simulated`: the summary of the row with its cache off where it should wait, if it should anywhere.
    """
    rows = summaries[summaries["tier"] == ALL].set_index("strategy")
    best, chosen, hits = most_hits(summaries), recommends.row, rows["clone_hit_rate"]
    name, off = chosen if chosen == row.strategy else f"{chosen} ({row.strategy})", recommends.backends
    backends = row.case.scenario.backends.values()
    if off and not any(backend.image_volume_cache_enabled for backend in backends):
        what = f"{without_cache(row.strategy)} for now, and {name} once the limits below are raised"
    else:
        what = name + (f", but leave the cache off on {', '.join(off)} for now" if off else "")
    lines = [f"Recommended: {what}. These are the scenario's limits; cinder-cache plan chooses limits."]
    for tier, why in recommends.why.items():
        first = f". First raise {'; '.join(raises[tier])}" if raises.get(tier) else ""
        lines.append(f"{why}{first}.")
    if simulated is not None:
        tiers = simulated[simulated["tier"] != ALL].to_dict("records")
        lines.append(f"Simulated so: {'; '.join(map(_tier, tiers))}.")
    most = text(hits[best], "hit_rate")
    lines.append(f"Most clone hits: {best}, {most} of all creates, {_cost(rows, best)}.")
    if chosen != best:
        share = text(hits[chosen], "hit_rate")
        lines.append(f"As good within its interval, for less: {chosen}, {share}, {_cost(rows, chosen)}.")
    return Told(recommends, lines, conf_of_scenario(row.case.scenario, row.strategy), what, simulated)


def _tier(row: Mapping[Hashable, Any]) -> str:
    hits, p95 = text(row["clone_hit_rate"], "hit_rate"), number(row["create_s_p95"])
    return f"{row['tier']} {hits} hits, p95 {p95} s, {number(row['errors'] + row['other_errors'])} failed"


def _figures(summaries: pd.DataFrame, found: Comparison | None) -> list[str]:
    """The ranges of the tables in words."""
    rows = summaries[summaries["tier"] == ALL].set_index("strategy")
    lines = []
    seconds = rows["create_s_mean"].dropna()
    if len(seconds):
        lines.append(
            f"Mean create seconds: from {number(seconds.min())} ({seconds.idxmin()})"
            f" to {number(seconds.max())} ({seconds.idxmax()})."
        )
    errors = failed(rows)
    if errors.any():
        few, many = number(float(errors.min())), number(float(errors.max()))
        of = ", those without an image, too" if rows["other_errors"].any() else ""
        lines.append(f"Failed creates{of}: from {few} ({errors.idxmin()}) to {many} ({errors.idxmax()}).")
    if found is not None:
        of = "replications" if found.of == "replications" else "blocks of the one history"
        lines.append(f"Behind ±: half of a {100 * found.confidence:g} % interval over {found.units:,} {of}.")
    return lines


def _cost(rows: pd.DataFrame, strategy: str) -> str:
    row = rows.loc[[strategy]].iloc[0]
    gib = f"with {number(row['image_provisioned_gib_mean'])} GiB of image-volumes on average"
    return f"{gib}, {number(row['price_month'])} a month" if row["price_month"] > 0 else gib


def _answer(summaries: pd.DataFrame, found: Comparison | None) -> list[Numbers]:
    """A table for each tier: a row a strategy."""
    tiers = list(dict.fromkeys(summaries["tier"]))
    tables = []
    for tier in tiers[:1] if len(tiers) == 2 else tiers:
        rows = summaries[summaries["tier"] == tier].reset_index(drop=True)
        creates = (
            number(float(rows["creates"].iloc[0]))
            if found is not None and found.of == "replications"
            else f"{int(rows['creates'].iloc[0]):,}"
        )
        shown = [each for each in SHOWN if each not in SELDOM or rows[each].any()]
        cells = {each: _with_halves(rows, each, tier, found) for each in shown}
        name = "All tiers" if tier == ALL else f"Tier {tier}"
        tables.append(
            numbers(rows[["strategy", *shown]], f"{name}: {creates} creates", f"{tier}.csv", cells=cells)
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
