"""Confidence intervals of strategies and of their differences, over replications or blocks of a history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sim.analysis.metrics import summary
from sim.analysis.rows import rows_of
from sim.analysis.statistics import CONFIDENCE, Blocks, Estimate, Sample
from sim.inputs.cinders import INSTALLED, Cinder
from sim.model.records import Records
from sim.model.usage import ALL
from sim.run import run
from sim.workload.loading import load

BASELINE = "none"
# The measures of a history with blocks: a part and its whole, both columns of `in_blocks`.
RATIOS = {"clone_hit_rate": ("clones", "creates"), "create_s_mean": ("seconds", "made")}
DIFFERENCES = (
    *("clone_hit_rate", "create_s_mean", "create_s_p95"),
    *("errors", "other_errors", "image_provisioned_gib_mean", "price_month"),
)


@dataclass(frozen=True)
class Comparison:
    """Confidence intervals of strategies side by side.

    - of, units: the intervals come from `units` replications or from `units` blocks of one history.
    - block_s: the length of a block in seconds; 0 for replications.
    - reference: the strategy that differences compare with: `none` if it is there, else the first.
    - measures: `tier`, `strategy`, `measure`, `mean`, `low`, `high`, for columns of
      `sim.analysis.metrics.summary`.
    - differences: the same columns for paired differences to the reference, for the measures in DIFFERENCES.
    - each: of replications, the rows of `sim.analysis.metrics.summary` with their `replication`; else empty.
    """

    of: str
    units: int
    block_s: float
    warm_up_s: float
    reference: str
    measures: pd.DataFrame
    differences: pd.DataFrame
    confidence: float = CONFIDENCE
    each: pd.DataFrame = field(default_factory=pd.DataFrame)


def counted(records: Records, warm_up_s: float) -> Records:
    """The records without the creates before `warm_up_s`."""
    if not warm_up_s:
        return records
    requests, others = (
        creates[creates["time"] >= warm_up_s].reset_index(drop=True)
        for creates in (records.requests, records.others)
    )
    return replace(records, requests=requests, others=others)


def of_replications(summaries: Sequence[pd.DataFrame], warm_up_s: float = 0.0) -> Comparison:
    """Compare strategies over two or more replications.

    Each of `summaries` has the rows of `sim.analysis.metrics.summary`, for the same strategies.
    """
    measures = [str(column) for column in summaries[0] if column not in ("tier", "strategy")]
    values = np.stack([one[measures].to_numpy(np.float64) for one in summaries], axis=-1)
    sample = Sample.of_replications(len(summaries))
    about = summaries[0][["tier", "strategy"]]
    found = _comparison(sample, about, measures, sample.mean(values), 0.0, warm_up_s)
    each = [one.assign(replication=number) for number, one in enumerate(summaries)]
    return replace(found, each=pd.concat(each, ignore_index=True))


def in_blocks(requests: pd.DataFrame, tiers: Iterable[str], strategy: str, blocks: Blocks) -> pd.DataFrame:
    """Creates, clones, made (successful creates) and their seconds, a row per tier (and ALL) and block."""
    block = blocks.of(requests["time"].to_numpy(np.float64))
    made = (requests["status"] == "available").to_numpy()
    weights = {
        "creates": np.ones(len(requests), bool),
        "clones": made & (requests["source"] != "download").to_numpy(),
        "made": made,
        "seconds": np.where(made, (requests["end"] - requests["time"]).to_numpy(np.float64), 0.0),
    }
    names = list(tiers)
    types, known = pd.factorize(requests["volume_type"])
    # Creates of other types come behind those of the tiers, and count among all alone.
    row = pd.Index(names, dtype="str").get_indexer(known) % (len(names) + 1)
    place, places = block + blocks.count * row[types], blocks.count * len(names)
    sums = {
        name: np.append(np.bincount(place, weight, places)[:places], np.bincount(block, weight, blocks.count))
        for name, weight in weights.items()
    }
    tier = np.repeat([*names, ALL], blocks.count)
    numbers = np.tile(np.arange(blocks.count), len(names) + 1)
    return pd.DataFrame({"tier": tier, "strategy": strategy, "block": numbers, **sums})


def of_history(counts: Sequence[pd.DataFrame], blocks: Blocks, seed: int) -> Comparison:
    """Compare strategies over one history, by a bootstrap over its blocks. `counts` are from `in_blocks`."""
    table = pd.concat(counts, ignore_index=True)
    shape = (-1, blocks.count)
    sample = Sample.of_blocks(blocks.count, seed=seed)
    ratios = [
        sample.ratio(*(table[column].to_numpy(np.float64).reshape(shape) for column in columns))
        for columns in RATIOS.values()
    ]
    estimate = Estimate(
        np.stack([one.point for one in ratios], axis=1), np.stack([one.deviations for one in ratios], axis=1)
    )
    about = table.loc[:: blocks.count, ["tier", "strategy"]].reset_index(drop=True)
    return _comparison(sample, about, list(RATIOS), estimate, blocks.length_s, blocks.start_s)


def replicate(
    path: Path,
    strategies: Sequence[str],
    engine: str,
    cinders: Sequence[Cinder],
    replication: int,
    warm_up_s: float,
) -> dict[str, pd.DataFrame | str]:
    """For each row (see `rows_of`), its `metrics.summary` on one replication, or why it failed."""
    case = load(path, replication=replication)
    found: dict[str, pd.DataFrame | str] = {}
    for row in rows_of(case, strategies, cinders):
        try:
            records = counted(run(row.case, row.strategy, engine, cinder=row.cinder), warm_up_s)
            found[row.name] = summary(records, row.case, row.name)
        except Exception as error:
            found[row.name] = " ".join(f"{type(error).__name__}: {error}".split())
    return found


def replicate_all(
    path: Path,
    strategies: Sequence[str],
    engine: str,
    replications: Iterable[int],
    warm_up_s: float,
    progress: Callable[[int], None] | None = None,
    cinders: Sequence[Cinder] = (INSTALLED,),
    workers: int = -1,
) -> list[dict[str, pd.DataFrame | str]]:
    """Run `replicate` for each replication; the results are in the order of the replications.

    `workers`: number of processes (-1: one per core).
    """
    import joblib

    from sim.analysis.pool import results

    asked = ((path.resolve(), strategies, engine, cinders, number, warm_up_s) for number in replications)
    found = []
    with joblib.parallel_config("loky", n_jobs=workers):
        for one in results(replicate, asked, ordered=True):
            found.append(one)
            if progress is not None:
                progress(len(found))
    return found


def without_failed(replicated: Sequence[Mapping[str, pd.DataFrame | str]]) -> list[pd.DataFrame]:
    """The rows of each replication, without strategies that failed in any replication."""
    return [
        pd.concat(rows, ignore_index=True)
        for one in replicated
        if (
            rows := [
                table
                for name, table in one.items()
                if isinstance(table, pd.DataFrame)
                and all(isinstance(other.get(name), pd.DataFrame) for other in replicated)
            ]
        )
    ]


def _comparison(
    sample: Sample,
    about: pd.DataFrame,
    measures: Sequence[str],
    estimate: Estimate,
    block_s: float,
    warm_up_s: float,
) -> Comparison:
    """Make the comparison from an estimate for each row (tier and strategy) of `about` and each measure."""
    names = about["strategy"].tolist()
    reference = BASELINE if BASELINE in names else names[0]
    base = about[about["strategy"] == reference].reset_index().set_index("tier")["index"]
    minus = about["tier"].map(base).to_numpy()
    others = np.flatnonzero(about["strategy"] != reference)
    shown = [measures.index(measure) for measure in DIFFERENCES if measure in measures]
    differences = _part(estimate, others, shown) - _part(estimate, minus[others], shown)
    return Comparison(
        sample.kind,
        sample.units,
        block_s,
        warm_up_s,
        reference,
        _tidy(sample, about, measures, estimate),
        _tidy(sample, about.iloc[others], [measures[column] for column in shown], differences),
    )


def _part(estimate: Estimate, rows: np.ndarray, columns: Sequence[int]) -> Estimate:
    return Estimate(estimate.point[rows][:, columns], estimate.deviations[rows][:, columns])


def _tidy(sample: Sample, about: pd.DataFrame, measures: Sequence[str], estimate: Estimate) -> pd.DataFrame:
    half = sample.half_widths(estimate, CONFIDENCE).ravel()
    mean = estimate.point.ravel()
    table = about.loc[about.index.repeat(len(measures))].reset_index(drop=True)
    table["measure"] = list(measures) * len(about)
    return table.assign(mean=mean, low=mean - half, high=mean + half)
