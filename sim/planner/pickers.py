"""Choosing from the table of candidates: pure functions, for plans and notebooks alike.

The table is `candidates.csv` of a plan (`sim.planner.answer.candidates_table`): a row for each strategy,
backend and limits, with the hit rate and its interval, space and price.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.inputs.limits import Limits

Mask = npt.NDArray[np.bool_]


def limits_of(table: pd.DataFrame) -> list[Limits]:
    """The limits of each row."""
    columns = ("image_volume_cache_enabled", "image_volume_cache_max_size_gb", "image_volume_cache_max_count")
    return [
        Limits(bool(enabled), int(size), int(count))
        for enabled, size, count in table[list(columns)].itertuples(index=False)
    ]


def larger(limits: Sequence[Limits]) -> Mask:
    """(n, n): whether limits j are at least as large as limits i, in both ways (each is so of itself)."""
    size, count = (
        np.array([np.inf if on and not limit else limit for on, limit in pairs])
        for pairs in (
            [(each.enabled, each.max_size_gb) for each in limits],
            [(each.enabled, each.max_count) for each in limits],
        )
    )
    on = np.array([each.enabled for each in limits])
    both = (size[None, :] >= size[:, None]) & (count[None, :] >= count[:, None])
    covers: Mask = np.where(on[:, None], both & on[None, :], True)
    return covers


def worst_larger(
    limits: Sequence[Limits], worth: npt.NDArray[np.float64], allowed: Mask
) -> npt.NDArray[np.intp]:
    """(n,): of all limits that are at least as large and allowed, the one that is worth least.

    A larger cache can have fewer hits, so limits are worth no more than this one. Where none is allowed,
    the limits themselves.
    """
    of = larger(limits) & allowed[None, :]
    found = np.where(of, worth[None, :], np.inf).argmin(axis=1)
    return np.where(of.any(axis=1), found, np.arange(len(limits)))


def smallest(table: pd.DataFrame, least: float, column: str = "hit_rate_low") -> pd.Series | None:
    """The row of the smallest limits from which every larger ones have at least so much; None if none has.

    `table`: candidates of one backend under one strategy. The smallest is the one that takes least space
    (mean provisioned GiB); of equal ones, the one with the lower limits.
    """
    limits, worth = limits_of(table), table[column].to_numpy(float)
    good = worth[worst_larger(limits, worth, np.ones(len(limits), bool))] >= least
    order = sorted(np.flatnonzero(good), key=lambda row: (table["space_gib_mean"].iloc[row], limits[row]))
    return table.iloc[order[0]] if order else None
