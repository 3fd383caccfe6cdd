"""Pareto fronts: what no other is both cheaper and better than."""

from __future__ import annotations

import numpy as np
import pandas as pd


def frontier(table: pd.DataFrame, cost: str = "space_gib_mean", worth: str = "hit_rate") -> pd.DataFrame:
    """The rows to which no other is both cheaper and better, by cost (Pareto)."""
    ordered = table.sort_values([cost, worth], ascending=[True, False], kind="stable")
    best = ordered[worth].cummax().shift(fill_value=-np.inf)
    return ordered[ordered[worth] > best]
