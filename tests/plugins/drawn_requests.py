"""Drawn clouds whose requests the scheduler places, with `what_if: {prefer_clones: true}`."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

from sim.cinder.engine import run
from sim.inputs.problems import BadInput
from sim.inputs.scenario import Case
from tests.whole.build import Builder
from tests.whole.random_case import random_builder

WEIGHERS = ("CapacityWeigher", "AllocatedCapacityWeigher", "VolumeNumberWeigher")
STRATEGIES = ("cache-only", "combined", "combined", "store-only", "none")
SAVES = ("update_image", "upload", "store_image")


def drawn(seed: int, folder: Path, whole_seconds: bool = False) -> tuple[Case, str]:
    """A case and the strategy to run it with.

    `whole_seconds`: for a database that keeps no parts of a second, without evictions, saved images and
    clones across pools, where parts of a second decide.
    """
    draw = random.Random(f"clone first {seed}")
    builder, strategy = random_builder(seed, events=40), draw.choice(STRATEGIES)
    scenario = builder.scenario
    scenario["what_if"] = {"prefer_clones": True}
    if draw.random() < 0.5:
        scenario["cinder"] |= {
            "scheduler_default_weighers": draw.sample(WEIGHERS, draw.randrange(4)),
            "capacity_weight_multiplier": draw.choice((1.0, -1.0)),
        }
    for event in builder.events:
        if event["event"] == "create" and draw.random() < 0.9:
            event |= {"host": "", "first_host": ""}
    _caches_that_are_on(builder, strategy)
    if whole_seconds:
        builder.events = [event for event in builder.events if event["event"] not in SAVES]
        for spec in scenario["backends"].values():
            spec |= {"image_volume_cache_max_count": 0, "image_volume_cache_max_size_gb": 0}
            spec["clone_across_pools"] = False
    return builder.case(folder), strategy


def _caches_that_are_on(builder: Builder, strategy: str) -> None:
    """The scheduler does not know where a cache is off; entries that it had before are not preferred."""
    cached = strategy in ("cache-only", "combined")
    for spec in builder.scenario["backends"].values():
        spec["image_volume_cache_enabled"] |= any(row["kind"] == "cache" for row in builder.initial)
    builder.initial = [row for row in builder.initial if cached or row["kind"] != "cache"]


def cases(seed: int, folder: Path, whole_seconds: bool = False) -> Iterator[tuple[Case, str]]:
    """One case after another, from a seed on; without those whose store does not fit at the start."""
    for number in itertools.count(seed):
        case, strategy = drawn(number, folder / str(number), whole_seconds)
        try:
            run(case, strategy)
        except BadInput:
            continue
        yield case, strategy
