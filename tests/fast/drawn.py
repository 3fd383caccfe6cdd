"""Seeded cases for engine `fast`: all that a case can ask for, in some sixty events."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from whole.build import GIB, Builder
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
    _storms(random.Random(f"storms {seed}"), builder)  # a stream of its own: other draws stay as they were
    builder.scenario |= {"upload": dice.choice(UPLOADS), "what_if": what_if}
    return builder.case(folder), dice.choice(STRATEGIES)


def _storms(draw: random.Random, builder: Builder) -> None:
    """In half of the cases, what many creates at once share."""
    if draw.random() < 0.5:
        return
    scenario = builder.scenario
    scenario["glance"] |= {
        "total_mib_s": draw.choice((None, 40, 200)),
        "stream_mib_s": draw.choice((None, 75, 180)),
    }
    nodes = scenario.setdefault("nodes", {})
    for name in nodes_of(scenario):
        nodes[name] = nodes.get(name, {}) | {"total_mib_s": draw.choice((None, 30, 150))}
    for each in builder.images:
        each["allocated_bytes"] = draw.choice(("", 0, int(0.3 * GIB), each["virtual_size_bytes"]))
    for spec in scenario["backends"].values():
        spec["array_mib_s"] = draw.choice((None, 90, 600))
        spec["write_zeroes"] = draw.choice(("skipped", "written"))
        spec["write_mib_s"] = draw.choice((None, 90, 600))
        spec["clone_copied_by"] = draw.choice(("array", "node"))
        spec["clone_mib_s"] = draw.choice((None, spec["clone_mib_s"], 300))
    scenario["glance"]["nodes"] = draw.choice((1, 2, 3))


def nodes_of(scenario: dict[str, Any]) -> list[str]:
    """The nodes of a scenario's backends."""
    names = (spec.get("nodes") or [spec["node"]] for spec in scenario["backends"].values())
    return sorted({name for each in names for name in each})
