"""Crowded clouds, drawn from a seed: clone limits, full pools and creates that are tried again are common."""

from __future__ import annotations

import random
from typing import Any

from .build import Builder, image

STEP = 0.37  # times are multiples of it, so that only what is meant to happens at once


def crowded_builder(seed: int, events: int = 50) -> Builder:
    """About so many creates and deletes of three images on two or three small backends of one tier."""
    draw = random.Random(f"crowded {seed}")
    attempts = draw.choice((1, 2, 2, 3, 4))
    formats = [draw.choice(("raw", "qcow2")) for _ in range(3)]
    b = Builder(
        *(image(f"i{n}", draw.choice((1, 1.3, 2)), fmt) for n, fmt in enumerate(formats)),
        cinder={"scheduler_max_attempts": attempts, "lock_scope": draw.choice(("cloud", "node"))},
        store={"home": "a#p0"},
    )
    for name in "abc"[: draw.choice((2, 3, 3))]:
        _backend(draw, b, name)
    time, live = 0.0, []
    while len(b.events) < events:
        time += STEP * draw.choice((1, 3, 10, 30, 100))
        if draw.random() < 0.5 and live:
            b.delete(time, live.pop(draw.randrange(len(live))))
            continue
        if draw.random() < 0.04:
            b.event(time, "update_image", image_id=f"i{draw.randrange(3)}")
        for _ in range(draw.choice((1, 1, 2, 4))):
            live.append(f"v{sum(event['event'] == 'create' for event in b.events)}")
            named = "" if draw.random() < 0.06 else f"i{int(3 * draw.random() ** 2)}"
            b.create(time, named, size=draw.choice((2, 5, 9)), **_place(draw, b))
    if draw.random() < 0.15:
        b.scenario["cinder"]["scheduler_default_weighers"] = ["CapacityWeigher", "VolumeNumberWeigher"]
    return b


def _backend(draw: random.Random, b: Builder, name: str) -> None:
    pools: dict[str, Any] = {
        f"p{number}": {
            "capacity_gib": draw.choice((90, 140, 900)) + number,
            "max_volumes": draw.choice((None, 4, 8)),
        }
        for number in range(draw.choice((1, 2)))
    }
    b.backend(
        name,
        pools=pools,
        nodes=draw.choice((["c1"], ["c1"], ["c1", "c2"])),
        cluster=draw.random() < 0.3,
        max_volumes=draw.choice((None, None, 12)),
        clone_s=draw.choice((0, 1.3, 4)),
        delete_s=draw.choice((0, 2, 15)),
        max_clones_per_volume=draw.choice((1, 2, 3)),
        clone_family_limit=draw.choice((None, None, 4)),
        delete_with_clones=draw.choice(("allowed", "busy")),
        thin=draw.random() < 0.7,
        max_over_subscription_ratio=draw.choice((1.0, 20.0)),
        image_volume_cache_max_count=draw.choice((0, 0, 2, 3)),
    )


def _place(draw: random.Random, b: Builder) -> dict[str, str]:
    """Most creates leave their place to the scheduler; some were tried on a pool first."""
    hosts = [f"{name}#{pool}" for name, spec in b.scenario["backends"].items() for pool in spec["pools"]]
    kind = draw.choice(("", "", "host", "first_host"))
    return {"host": "", **({kind: draw.choice(hosts)} if kind else {})}
