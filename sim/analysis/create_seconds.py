"""The distribution of create seconds: the number of creates in each step."""

from __future__ import annotations

import numpy as np
import pandas as pd

# From 0.1 s to about eleven days, eight steps per factor of ten; the end steps take all values beyond.
BINS_S = np.round(10 ** np.arange(-1, 6.01, 1 / 8), 3)


def create_seconds(requests: pd.DataFrame) -> pd.DataFrame:
    """Count successful creates by their seconds.

    Columns: source, waited (for another create's fill), from_s, to_s, creates. Each source and `waited` has
    every step between the shortest and the longest of all creates.
    """
    done = (requests["status"] == "available").to_numpy()
    seconds = (requests["end"].to_numpy(float) - requests["time"].to_numpy(float))[done]
    step = np.clip(np.searchsorted(BINS_S, seconds, side="right") - 1, 0, len(BINS_S) - 2)
    source, names = pd.factorize(requests["source"], sort=True)
    source, waited = source[done], (requests["lock_wait_s"].to_numpy(float) > 0)[done].astype(np.int64)
    shape = (len(names), 2, len(BINS_S) - 1)
    places = np.ravel_multi_index((source, waited, step), shape)
    counts = np.bincount(places, minlength=int(np.prod(shape))).reshape(shape)
    used = np.flatnonzero(counts.sum(axis=(0, 1)))
    shown = range(used[0], used[-1] + 1) if len(used) else range(0)
    rows = [
        (name, bool(late), BINS_S[at], BINS_S[at + 1], counts[number, late, at])
        for number, name in enumerate(names)
        for late in (0, 1)
        if counts[number, late].any()
        for at in shown
    ]
    return pd.DataFrame(rows, columns=["source", "waited", "from_s", "to_s", "creates"])


def together(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Add up two tables of `create_seconds`."""
    key = ["source", "waited", "from_s", "to_s"]
    both = pd.concat([one, other]) if len(one) else other
    return both.groupby(key, as_index=False).agg({"creates": "sum"})
