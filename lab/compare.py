"""Predicted against measured: what the tables of both say, with intervals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

WAITED_S = 1.5  # a lock that is polled: tooz asks for it once a second, so shorter waits are no queue
RESAMPLES = 2000
MEASURES = (
    *("hit_rate_flash", "hit_rate_disk", "hit_rate", "evictions", "final_entries", "failed", "waited"),
    *("p50_s", "p95_s", "mean_s"),
)


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables of one run."""
    names = ("requests", "cache", "cache_events")
    return {name: pd.read_csv(folder / f"{name}.csv", keep_default_na=True) for name in names}


def seconds(requests: pd.DataFrame) -> pd.Series[float]:
    """How long each successful create took, from its time in the trace on."""
    done = requests[requests["status"] == "available"]
    return (done["end"] - done["time"]).astype(float)


def measures(tables: dict[str, pd.DataFrame]) -> dict[str, float]:
    """Each of `MEASURES` of one run."""
    requests = tables["requests"]
    hit = requests["source"].eq("cache")
    found = {
        f"hit_rate_{tier}": float(hit[requests["volume_type"] == tier].mean()) for tier in ("flash", "disk")
    }
    took = seconds(requests)
    return found | {
        "hit_rate": float(hit.mean()),
        "evictions": float(tables["cache_events"]["event"].eq("evict").sum()),
        "final_entries": float(len(tables["cache"])),
        "failed": float(requests["status"].eq("error").sum()),
        "waited": float((requests["lock_wait_s"] > WAITED_S).sum()),
        "p50_s": float(took.quantile(0.5)),
        "p95_s": float(took.quantile(0.95)),
        "mean_s": float(took.mean()),
    }


def compared(predicted: Path, measured: Path, runs: list[str]) -> pd.DataFrame:
    """A row for each measure of each run.

    `predicted` is the median of the prediction's repeats (see chance.py), `from` and `to` are the least and
    the largest of them. `low` and `high` are the 95 % interval of what was measured: Wilson's for rates; for
    seconds, of resampled creates.
    """
    rows = []
    for run in runs:
        other = read(measured / run)
        theirs = measures(other)
        repeats = pd.read_csv(predicted / run / "chance.csv")
        for name in MEASURES:
            told = repeats[name].median(), repeats[name].min(), repeats[name].max()
            rows.append((run, name, *told, theirs[name], *_interval(name, other)))
    columns = ["run", "measure", "predicted", "from", "to", "measured", "low", "high"]
    return pd.DataFrame(rows, columns=columns).round(3)


def _interval(name: str, tables: dict[str, pd.DataFrame]) -> tuple[float, float]:
    requests = tables["requests"]
    if name.startswith("hit_rate"):
        tier = name.removeprefix("hit_rate").removeprefix("_")
        of = requests if not tier else requests[requests["volume_type"] == tier]
        hits = int(of["source"].eq("cache").sum())
        found = stats.binomtest(hits, len(of)).proportion_ci(method="wilson")
        return float(found.low), float(found.high)
    took = seconds(requests).to_numpy()
    statistic = {"p50_s": 0.5, "p95_s": 0.95}
    if name not in (*statistic, "mean_s"):
        return float("nan"), float("nan")
    drawn = np.random.default_rng(0).choice(took, (RESAMPLES, len(took)))
    values = np.quantile(drawn, statistic[name], axis=1) if name in statistic else drawn.mean(axis=1)
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def agreement(predicted: Path, measured: Path, runs: list[str]) -> pd.DataFrame:
    """For each run: creates with the same source and status, and how far apart the seconds are.

    `ks` is the largest distance of the distributions of seconds (Kolmogorov and Smirnov).
    """
    rows = []
    for run in runs:
        both = read(predicted / run)["requests"].merge(
            read(measured / run)["requests"], on="volume_id", suffixes=("_predicted", "_measured")
        )
        same = (both["source_predicted"] == both["source_measured"]) & (
            both["status_predicted"] == both["status_measured"]
        )
        one, other = (seconds(read(place / run)["requests"]) for place in (predicted, measured))
        rows.append((run, len(both), float(same.mean()), float(stats.ks_2samp(one, other).statistic)))
    return pd.DataFrame(rows, columns=["run", "creates", "same_decision", "ks"]).round(3)
