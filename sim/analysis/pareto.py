"""Pareto fronts: rows that no other row beats in both cost and worth."""

from __future__ import annotations

import numpy as np
import pandas as pd


def frontier(table: pd.DataFrame, cost: str = "space_gib_mean", worth: str = "hit_rate") -> pd.DataFrame:
    """The rows that no other row beats in both cost and worth, by cost."""
    ordered = table.sort_values([cost, worth], ascending=[True, False], kind="stable")
    best = ordered[worth].cummax().shift(fill_value=-np.inf)
    return ordered[ordered[worth] > best]
