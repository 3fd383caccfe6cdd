"""Seeded cases for engine `fast`: all that a case can ask for, in some sixty events."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from whole.random_case import random_builder

from sim.inputs.scenario import Case, WhatIf

POLICIES = ("lru", "sieve", "gdsf", "belady")
STRATEGIES = ("none", "store-only", "replicated-store", "on-demand-store", "cache-only", "combined")
UPLOADS = ("copy", "no-op", "raw-twin-location", "raw-twin-cache")
WEIGHERS = ("CapacityWeigher", "AllocatedCapacityWeigher", "VolumeNumberWeigher")
SWITCHES = tuple(name for name, field in WhatIf.model_fields.items() if field.annotation is bool)


def drawn(seed: int, folder: Path) -> tuple[Case, str]:
    """A case and the strategy to run it with: `random_builder`'s, with what-ifs and weighers of all kinds."""
    dice = random.Random(seed)
    builder = random_builder(seed, events=60)
    what_if: dict[str, Any] = {"eviction": dice.choice(POLICIES)}
    what_if |= {name: dice.random() < 0.4 for name in SWITCHES}
    if what_if["eviction"] != "lru":
        what_if["limits_per_backend"] = False
    if dice.random() < 0.5:
        builder.scenario["cinder"] |= {
            "scheduler_default_weighers": dice.sample(WEIGHERS, dice.randrange(4)),
            "capacity_weight_multiplier": dice.choice((1.0, -1.0)),
        }
        if dice.random() < 0.5:
            builder.scenario["cinder"]["scheduler_weight_handler"] = "StochasticHostWeightHandler"
            what_if["prefer_clones"] = False
    for backend in builder.scenario["backends"].values():
        for pool in backend["pools"].values():
            if dice.random() < 0.2:
                del pool["capacity_gib"]
    builder.scenario |= {"upload": dice.choice(UPLOADS), "what_if": what_if}
    return builder.case(folder), dice.choice(STRATEGIES)
