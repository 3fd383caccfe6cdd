"""How sure the figures of a sweep are: intervals by replications, or by the blocks of one history."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sim.analysis.statistics import Estimate, Floats, Sample
from sim.inputs.scenario import Case, Scenario
from sim.sweep.varying import apply

MEASURES = (
    *("clone_hit_rate", "create_s_mean", "create_s_p95"),
    *("errors", "other_errors", "image_provisioned_gib_mean", "price_month"),
)


def intervals(case: Case, documents: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each point and scope (with several replications also pools), of the documents of a sweep.

    Columns: strategy, what was varied, scope, name, of (`replications` | `blocks`), units, then of each of
    MEASURES its mean over the replications (of one: its value), `{measure}_low` and `{measure}_high`, at 95 %
    confidence; NaN where the units do not tell. Cells that failed are left out.
    """
    rows: list[dict[str, Any]] = []
    for cells in points(documents):
        about = {"strategy": cells[0]["strategy"], **cells[0]["values"]}
        told = _of_replications(cells) if len(cells) > 1 else _of_blocks(case, cells[0])
        rows += [about | row for row in told]
    return pd.DataFrame(rows)


def points(documents: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """The cells of each point that `intervals` tells of, in its order."""
    groups = itertools.groupby(documents, lambda one: (one["strategy"], repr(one["values"])))
    done = [[document for document in group if document["rows"]] for _, group in groups]
    return [cells for cells in done if len(cells) > 1 or (cells and _in_blocks(cells[0]))]


def _in_blocks(cell: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [row for row in cell["rows"] if row["blocks"]]


def _of_replications(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    sample = Sample.of_replications(len(cells))
    rows = []
    for same in zip(*(cell["rows"] for cell in cells), strict=True):
        estimates = {measure: sample.mean([row[measure] for row in same]) for measure in MEASURES}
        rows.append(_row(same[0], sample, estimates))
    return rows


def _of_blocks(case: Case, cell: Mapping[str, Any]) -> list[dict[str, Any]]:
    scenario = apply(case.scenario, cell["values"])
    in_blocks = _in_blocks(cell)
    sample = Sample.of_blocks(len(in_blocks[0]["blocks"]["creates"]), seed=scenario.seed)
    prices = [_prices(scenario, row, in_blocks) for row in in_blocks]
    rows = []
    for row, price in zip(in_blocks, prices, strict=True):
        blocks = row["blocks"]
        estimates = {
            "clone_hit_rate": sample.ratio(blocks["clones"], blocks["creates"]),
            "errors": sample.total(blocks["errors"]),
            "other_errors": sample.total(blocks["other_errors"]),
            "image_provisioned_gib_mean": sample.mean(blocks["image_provisioned_gib"]),
            "price_month": sample.mean(price),
        }
        rows.append(_row(row, sample, estimates))
    return rows


def _prices(scenario: Scenario, row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Floats:
    """The price a month by block; NaN of a backend that serves several tiers, as its `price_month`."""
    if row["scope"] == "all":
        of_tiers = [_prices(scenario, one, rows) for one in rows if one["scope"] == "tier"]
        return np.asarray(np.sum(of_tiers, axis=0))
    name, blocks = row["name"], row["blocks"]
    tiers = [name] if row["scope"] == "tier" else list(scenario.backends[name].volume_types)
    gib = np.array(blocks["image_physical_gib"], np.float64)
    if len(tiers) > 1:
        return np.full_like(gib, np.nan)
    tier = scenario.tiers[tiers[0]]
    volumes = np.array(blocks["image_volumes"], np.float64)
    return np.asarray(tier.price_gib_month * gib + tier.price_volume_month * volumes)


def _row(row: Mapping[str, Any], sample: Sample, estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    """A row of the table of intervals.

    For one history, the run's own value is the middle, because its blocks are not all equally long.
    """
    found = {"scope": row["scope"], "name": row["name"], "of": sample.kind, "units": sample.units}
    for measure in MEASURES:
        estimate = estimates.get(measure)
        replicated = estimate is not None and sample.kind == "replications"
        mean = float(estimate.point) if replicated and estimate is not None else row[measure]
        half = np.nan if estimate is None else float(sample.half_widths(estimate))
        found |= {measure: mean, f"{measure}_low": mean - half, f"{measure}_high": mean + half}
    return found
