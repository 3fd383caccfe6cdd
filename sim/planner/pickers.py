"""Choose limits from the table of candidates: pure functions, for plans and notebooks.

The table is `candidates.csv` of a plan (`sim.planner.answer.candidates_table`). It has one row for each
strategy, backend and pair of limits, with the hit rate and its interval, space and price.
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
    """(n, n): whether limits j are at least as large as limits i, in size and in count."""
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
    """(n,): for each row, the row of least worth among all allowed limits that are at least as large.

    A larger cache can have fewer hits, so no limits are worth more than this row. If no larger limits are
    allowed, it is the row itself.
    """
    of = larger(limits) & allowed[None, :]
    found = np.where(of, worth[None, :], np.inf).argmin(axis=1)
    return np.where(of.any(axis=1), found, np.arange(len(limits)))


def smallest(table: pd.DataFrame, least: float, column: str = "hit_rate_low") -> pd.Series | None:
    """The row of the smallest limits such that they and all larger ones have at least `least`; None without
    any.

    `table`: candidates of one backend under one strategy. The smallest limits take the least space (mean
    provisioned GiB). If several take the same space, the lowest limits win.
    """
    limits, worth = limits_of(table), table[column].to_numpy(float)
    good = worth[worst_larger(limits, worth, np.ones(len(limits), bool))] >= least
    order = sorted(np.flatnonzero(good), key=lambda row: (table["space_gib_mean"].iloc[row], limits[row]))
    return table.iloc[order[0]] if order else None
