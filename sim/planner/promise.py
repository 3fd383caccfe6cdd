"""Writes a promise: the figures of a strategy with its limits, and the load for which they hold.

`sim.live.promise` reads it again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from sim.analysis.statistics import Sample
from sim.inputs.conf import limits_of
from sim.inputs.hosts import backend_of
from sim.planner.figures import EVERY, add_p95, figures
from sim.planner.measured import Floats, Runs
from sim.planner.simulator import Load
from sim.run import run

DAY_S = 86_400.0
WAYS = ("cold", "warm")  # a create on a pool that has no copy of the image, and on one that has


def promise_of(load: Load, strategy: str, runs: Runs, sample: Sample, confidence: float) -> dict[str, Any]:
    """Settings and figures of a strategy with the limits of `load`, as a document with stable keys."""
    scenario = load.case.scenario
    told = figures(runs, scenario, sample, confidence)
    requests = run(load.case, strategy, "fast").requests
    if len(runs) == 1:
        add_p95(told, requests, load, sample, confidence)
    return {
        "scenario": scenario.name,
        "strategy": strategy,
        "backends": {
            name: {**limits.options, **told["backends"][name]}
            for name, limits in limits_of(scenario, strategy).items()
        },
        "tiers": told["tiers"],
        "intervals": {"of": sample.kind, "units": sample.units, "confidence": confidence},
        **promised_load(load, requests),
    }


def promised_load(load: Load, requests: pd.DataFrame) -> dict[str, Any]:
    """`load`: what users ask for. `create_s`: seconds of cold and warm creates by tier."""
    time, image = requests["time"].to_numpy(float), requests["image_id"].astype(str).to_numpy(object)
    backend = requests["host"].astype(str).map(backend_of).to_numpy(object)
    begin, end = load.warm_up_s, max(load.case.last_create_s, load.warm_up_s)
    start = load.case.trace.start
    return {
        "load": {
            "start": start and (start + timedelta(seconds=begin)).isoformat(),
            "end": start and (start + timedelta(seconds=end)).isoformat(),
            "days": (end - begin) / DAY_S,
            EVERY: asked(time, image, begin, end),
            "backends": {
                name: asked(time[backend == name], image[backend == name], begin, end)
                for name in load.case.scenario.backends
            },
        },
        "create_s": _create_seconds(requests[requests["time"] >= load.warm_up_s]),
    }


def asked(time: Floats, image: Any, begin: float, end: float) -> dict[str, float | None]:
    """How many creates come a day, and how many images are asked for for the first time.

    `time` (n,) and `image` (n,) are those of creates, in seconds. Those before `begin` only tell which images
    are not new. Where there are none, the first quarter of the period does, and the rest counts.
    """
    days = (end - begin) / DAY_S
    if days <= 0:
        return {"creates_per_day": None, "new_images_per_day": None}
    since = begin if (time < begin).any() else begin + (end - begin) / 4
    first = pd.Series(time).groupby(pd.Series(image, dtype=object)).min().to_numpy(float)
    new = float((first >= since).sum()) / ((end - since) / DAY_S)
    return {"creates_per_day": float((time >= begin).sum()) / days, "new_images_per_day": new}


def _create_seconds(requests: pd.DataFrame) -> dict[str, dict[str, dict[str, int | float]]]:
    made = requests[requests["status"] == "available"]
    seconds = (made["end"] - made["time"]).to_numpy(float)
    tier, cold = made["volume_type"].to_numpy(object), (made["source"] == "download").to_numpy(bool)
    found: dict[str, dict[str, dict[str, int | float]]] = {}
    for name in dict.fromkeys(tier):
        for way, here in zip(WAYS, (cold, ~cold), strict=True):
            mine = seconds[here & (tier == name)]
            if len(mine):
                p50, p95 = np.percentile(mine, (50, 95))
                told = {"creates": len(mine), "p50_s": float(p50), "p95_s": float(p95)}
                found.setdefault(str(name), {})[way] = told
    return found
