"""A mixture of everything, drawn from a seed."""

from __future__ import annotations

import random
from typing import Any

from .build import TIER, Builder, image

IMAGES, UPLOADED = 5, 4  # there at the start, and made of volumes
STEP = 0.37  # times are multiples of it, so that only what is meant to happens at once


def random_builder(seed: int, events: int = 30) -> Builder:
    """About so many events over two or three backends and two tiers."""
    draw = random.Random(seed)
    b = Builder(
        *_images(draw),
        glance={"streams": draw.choice((1, 3, 16, None)), "stream_mib_s": draw.choice((75, 180))},
        tiers={"flash": TIER, "disk": TIER},
        cinder={
            "lock_scope": draw.choice(("cloud", "node")),
            "scheduler_max_attempts": draw.choice((1, 2, 3)),
            "backend_stats_polling_interval": draw.choice((20, 60)),
            "internal_tenant_quota_volumes": draw.choice((None, None, 4)),
            "internal_tenant_quota_gigabytes": draw.choice((None, None, 8)),
            "image_upload_use_internal_tenant": draw.random() < 0.5,
        },
        upload=draw.choice(("copy", "no-op")),
    )
    if draw.random() < 0.7:
        b.scenario["store"] = {"home": "a#p0"}
    for name in "abc"[: draw.choice((2, 3))]:
        _backend(draw, b, name)
    if draw.random() < 0.5:
        _initial(draw, b)
    _events(draw, b, events)
    _zones(random.Random(f"zones {seed}"), b)  # a stream of its own: other draws stay as they were
    _stored(random.Random(f"store {seed}"), b)
    _nodes(random.Random(f"nodes {seed}"), b)
    _quotas(random.Random(f"quotas {seed}"), b)
    _refusals(random.Random(f"refusals {seed}"), b)
    _snapshots(random.Random(f"snapshots {seed}"), b)
    _attached(random.Random(f"attached {seed}"), b)
    _families(random.Random(f"families {seed}"), b)
    _directories(random.Random(f"directories {seed}"), b)
    b.scenario["glance"]["do_secure_hash"] = random.Random(f"hash {seed}").random() < 0.5
    _queues(random.Random(f"queues {seed}"), b)
    if "store" in b.scenario and random.Random(f"placed {seed}").random() < 0.3:
        b.scenario["store"] = {"volume_type": "disk"}
    _stores(random.Random(f"stores {seed}"), b)
    b.scenario["cinder"]["lock_order"] = random.Random(f"locks {seed}").choice(("arrival", "chance"))
    return b


def _directories(draw: random.Random, b: Builder) -> None:
    """In a third of the cases, nodes have little space to convert images."""
    if draw.random() < 0.7:
        return
    backends = b.scenario["backends"].values()
    named = {each for spec in backends for each in spec.get("nodes", [spec.get("node")])}
    b.scenario["nodes"] = {
        name: {"image_conversion_gib": draw.choice((1.2, 2.5, 4, None))} for name in sorted(named)
    }
    for spec in backends:
        spec["imports_raw_file"] = draw.random() < 0.4


def _attached(draw: random.Random, b: Builder) -> None:
    """In a third of the cases, image-volumes of a tier are attached by one reader at a time."""
    for name, tier in b.scenario["tiers"].items():
        b.scenario["tiers"][name] = {**tier, "multiattach": draw.random() < 0.8}
    if not all(tier["multiattach"] for tier in b.scenario["tiers"].values()):
        b.scenario["glance"]["stream_mib_s"] = draw.choice((30, 75))  # so that it matters


def _zones(draw: random.Random, b: Builder) -> None:
    """In half of the cases, backends in several zones; creates ask for them, or for an unknown one."""
    if draw.random() < 0.5:
        return
    for backend in b.scenario["backends"].values():
        backend["availability_zone"] = draw.choice(("nova", "nova", "nova", "az1"))
    b.scenario["cinder"]["default_availability_zone"] = draw.choice(("nova",) * 8 + ("az1", "az1", "gone"))
    for event in b.events:
        if event["event"] == "create":
            event["availability_zone"] = draw.choice(("",) * 12 + ("nova", "az1", "az1", "gone"))


def _refusals(draw: random.Random, b: Builder) -> None:
    """In a third of the cases: conversion is off, or images need a larger volume than their data."""
    b.scenario["cinder"]["image_conversion_disable"] = draw.random() < 0.15
    if draw.random() < 0.2:
        for each in b.images:
            each["min_disk"] = draw.choice((0, 0, 3, 6))
    if draw.random() < 0.3:
        for each in b.images:
            each["virtual_size_unknown"] = draw.choice(("", "true"))


def _quotas(draw: random.Random, b: Builder) -> None:
    """In a third of the cases: of projects and volume types; the internal tenant may own the store."""
    if draw.random() < 0.7:
        return
    few = {"volumes": (2, 6), "gigabytes": (20, 40), "per_volume_gigabytes": (5, 12)}
    few |= {f"{name}_{tier}": few[name] for name in list(few)[:2] for tier in ("flash", "disk")}
    limits = [(name, draw.choice(of)) for name, of in few.items()]
    b.scenario["cinder"] |= {
        "quotas": {name: dict(draw.sample(limits, draw.choice((0, 1, 2)))) for name in ("default", "alice")},
        "internal_tenant_quotas": draw.choice(({}, {"volumes_flash": 2, "gigabytes_disk": 5})),
        "internal_tenant_owns_store": draw.random() < 0.4,
    }


def _images(draw: random.Random) -> list[dict[str, Any]]:
    return [
        image(
            f"i{number}",
            draw.choice((0.6, 1, 1.3, 2, 3.4)),
            draw.choice(("raw", "raw", "qcow2")),
            owner=draw.choice(("", "", "", "", "alice")),
            container_format=draw.choice(("bare", "bare", "bare", "ovf")),
            store_hosts=draw.choice(("", "", "", "", "b#p0", "a#p0;b#p0")),
        )
        for number in range(IMAGES + UPLOADED)
    ]


def _backend(draw: random.Random, b: Builder, name: str) -> None:
    limited = draw.random() < 0.5
    b.backend(
        name,
        {"a": "flash", "b": ["flash", "disk"], "c": "disk"}[name],
        pools={
            f"p{number}": {
                "capacity_gib": draw.choice((60, 140, 200)) + number,
                "max_volumes": draw.choice((None, None, 9)),
            }
            for number in range(draw.choice((1, 2)))
        },
        node=draw.choice(("c1", "c2")),
        max_volumes=draw.choice((None, None, 16)),
        clone_s=draw.choice((0, 1.3, 4)),
        clone_mib_s=draw.choice((None, None, None, 400)),
        delete_s=draw.choice((0, 2, 15)),
        extend_s=draw.choice((0, 0.9)),
        write_streams=draw.choice((None, 1, 2)),
        read_mib_s=draw.choice((None, 90, 500)),
        max_clones_per_volume=draw.choice((None, 2, 4)),
        delete_with_clones=draw.choice(("allowed", "busy")),
        driver_clones_raw=draw.random() < 0.15,
        thin=draw.random() < 0.7,
        dedupe=draw.random() < 0.2,
        max_over_subscription_ratio=draw.choice((1.0, 1.5, 20.0)),
        reserved_percentage=draw.choice((0, 0, 10)),
        image_volume_cache_enabled=draw.random() < 0.9,
        image_volume_cache_max_size_gb=draw.choice((3, 5)) if limited else 0,
        image_volume_cache_max_count=draw.choice((0, 1, 2, 3)),
    )


def _nodes(draw: random.Random, b: Builder) -> None:
    """Several nodes and clones across pools, in some cases; all else stays as the seed has drawn it."""
    for spec in b.scenario["backends"].values():
        if draw.random() < 0.4:
            spec["nodes"] = draw.sample(("c1", "c2", "c3"), draw.choice((2, 3)))
            del spec["node"]
        spec["cluster"] = draw.random() < 0.3
        spec["clone_across_pools"] = draw.random() < 0.25


def _families(draw: random.Random, b: Builder) -> None:
    """In a third of the cases, limits of a family's volumes."""
    if draw.random() < 0.35:
        for spec in b.scenario["backends"].values():
            spec["clone_family_limit"] = draw.choice((None, 2, 3, 6))


def _queues(draw: random.Random, b: Builder) -> None:
    """In a third of the cases, clones wait for each other, and messages for threads."""
    if draw.random() < 0.65:
        return
    for spec in b.scenario["backends"].values():
        spec["clone_lock"] = draw.choice(("none", "source"))
        spec["clone_streams"] = draw.choice((None, None, 1, 2))
        for name in spec.get("nodes") or [spec["node"]]:
            limits = b.scenario.setdefault("nodes", {})
            limits[name] = limits.get(name, {}) | {"executor_thread_pool_size": draw.choice((None, 1, 3))}
    for spec in b.scenario["backends"].values():
        spec["clone_copied_by"] = draw.choice(("array", "node"))


def _initial(draw: random.Random, b: Builder) -> None:
    hosts = _hosts(b, "")
    for number in range(4):
        kind = draw.choice(("volume", "cache"))
        name = draw.choice([i["image_id"] for i in b.images[:IMAGES]])
        row = {"kind": kind, "volume_id": f"u{number}", "host": draw.choice(hosts)}
        if kind == "volume":
            b.initial.append({**row, "image_id": draw.choice(("", name)), "size_gib": 7})
        elif all((name, row["host"]) != (r["image_id"], r["host"]) for r in b.initial):
            used = {"size_gib": 4, "last_used": -1 - 10 * number}
            b.initial.append({**row, "image_id": name, **used})


def _hosts(b: Builder, tier: str) -> list[str]:
    """The pools that serve a tier (empty: all of them)."""
    return [
        f"{name}#{pool}"
        for name, spec in b.scenario["backends"].items()
        if not tier or tier in spec["volume_type"]
        for pool in spec["pools"]
    ]


def _events(draw: random.Random, b: Builder, events: int) -> None:
    time, made = 0.0, 0
    images, to_upload = IMAGES, [f"i{number}" for number in range(IMAGES, IMAGES + UPLOADED)]
    volumes = [row["volume_id"] for row in b.initial if row["kind"] == "volume"]
    while len(b.events) < events:
        time += STEP * draw.choice((1, 3, 10, 30, 100))
        kind = draw.random()
        if kind < 0.72:
            storm = draw.choice((1, 1, 1, 2, 4))
            for _ in range(storm):
                _create(draw, b, time, f"i{int(images * draw.random() ** 1.7)}")
            volumes += [f"v{number}" for number in range(made, made + storm)]
            made += storm
        elif kind < 0.9 and volumes:
            b.delete(time, volumes.pop(draw.randrange(len(volumes))))
        elif kind < 0.94:
            b.event(time, "update_image", image_id=f"i{draw.randrange(images)}")
        elif kind < 0.99:
            _upload(draw, b, time, volumes, to_upload)
            images = IMAGES + UPLOADED - len(to_upload)
        elif time > 200:
            b.event(time, "delete_image", image_id=f"i{draw.randrange(images)}")


def _snapshots(draw: random.Random, b: Builder) -> None:
    """Snapshots of volumes, which some of them outlive: their deletes are refused."""
    made = {e["volume_id"]: e["time"] for e in b.events if e["event"] == "create"}
    gone = {e["volume_id"]: e["time"] for e in b.events if e["event"] == "delete"}
    last = max(event["time"] for event in b.events)
    for spec in b.scenario["backends"].values():
        spec["snapshots"] = draw.choice(("volumes", "volumes", "apart"))
    for number in range(draw.choice((0, 0, 2, 5))):
        volume = draw.choice(list(made))
        until = gone.get(volume, last + 50) - 0.05
        time = made[volume] + (until - made[volume]) * draw.random()
        b.snapshot(time, volume, f"s{number}")
        if draw.random() < 0.7:
            b.drop(time + (until - time) * draw.random(), volume, f"s{number}")


def _stored(draw: random.Random, b: Builder) -> None:
    """Images that come into the Cinder store."""
    last = max(event["time"] for event in b.events)
    for _ in range(draw.choice((0, 0, 1, 2, 4))):
        host = draw.choice(["", *_hosts(b, "")])
        tier = draw.choice(("flash", "disk")) if not host else ""
        time = 0.11 + STEP * draw.randrange(int(last / STEP) + 1)
        b.store(time, f"i{draw.randrange(IMAGES)}", host, tier)


def _stores(draw: random.Random, b: Builder) -> None:
    """In a quarter of the cases, uploads of a volume type go to a store of Glance that is not the default."""
    if draw.random() < 0.25:
        b.scenario["stores"] = {"other": {"volume_type": draw.choice(("flash", "disk"))}}
        uploaded = draw.choice(("flash", "disk"))
        b.scenario["tiers"][uploaded] = {**b.scenario["tiers"][uploaded], "image_service_store_id": "other"}


def _upload(draw: random.Random, b: Builder, time: float, volumes: list[str], images: list[str]) -> None:
    """Of a young volume more often than not; of one twice at once, too."""
    if not volumes:
        return
    volume = draw.choice([*volumes, *volumes[-3:]])
    project = next((e.get("project", "") for e in b.events if e.get("volume_id") == volume), "")
    for name in images[: draw.choice((1, 1, 1, 2))]:
        images.remove(name)
        image = next(image for image in b.images if image["image_id"] == name)
        image["owner"] = draw.choice(("", project))
        b.upload(time, volume, name)


def _create(draw: random.Random, b: Builder, time: float, image_id: str) -> None:
    tier = draw.choice(("flash", "disk"))
    host, first_host = draw.choice((("", ""), ("", ""), ("h", ""), ("h", ""), ("", "h")))
    some = draw.choice(_hosts(b, tier))
    b.create(
        time,
        "" if draw.random() < 0.06 else image_id,
        host and some,
        draw.choice((2, 5, 5, 5, 12)),
        volume_type=tier,
        project=draw.choice(("", "alice", "alice")),
        encrypted=draw.random() < 0.08,
        first_host=first_host and some,
    )
