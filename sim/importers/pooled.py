"""Adds the scheduler's view of pools to the backends of a scenario."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from cinder.volume.volume_utils import DEFAULT_POOL_NAME

from sim.importers.cloud import Backend
from sim.importers.names import Place, service
from sim.importers.notes import Note
from sim.importers.pool_files import Pool, Pools

NAMELESS = f"#{DEFAULT_POOL_NAME}"


def name(pools: Pools, places: dict[str, Place]) -> None:
    """Give a host without a pool the pool of its backend, if the backend has only one."""
    for host in [host for host in places if host.endswith(NAMELESS)]:
        real = [pool.host for pool in pools.pools if service(pool.host) == service(host)]
        if len(real) == 1:
            places[host] = places[real[0]]


def names(pools: Pools, places: Mapping[str, Place]) -> dict[str, str]:
    """The volume_backend_name that each backend reports, for those that report one."""
    found: dict[str, str] = {}
    for pool in pools.pools:
        place = places[pool.host]
        if pool.volume_backend_name:
            found.setdefault(place.backend, pool.volume_backend_name)
    return found


def tell(pools: Pools, places: Mapping[str, Place], backends: Mapping[str, Backend]) -> Iterator[Note]:
    """Write the pools' values into the backends. A scenario has one such value for all pools of a backend."""
    told: dict[str, dict[str, Any]] = {}
    differ: dict[str, None] = {}
    for pool in pools.pools:
        place = places[pool.host]
        if pool.capacity_gib is not None:
            endless = math.isinf(pool.capacity_gib)
            backends[place.backend].pools[place.pool]["capacity_gib"] = None if endless else pool.capacity_gib
        if told.setdefault(place.backend, _keys(pool)) != _keys(pool):
            differ[place.backend] = None
    for backend, keys in told.items():
        backends[backend].keys |= keys
    for backend in differ:
        first = ", ".join(f"{key} {value}" for key, value in told[backend].items())
        yield Note(
            "assumed", f"backend {backend}: its pools differ; the first one's values are used: {first}"
        )


def _keys(pool: Pool) -> dict[str, Any]:
    keys = {
        "thin": pool.thin,
        "max_over_subscription_ratio": pool.max_over_subscription_ratio,
        "reserved_percentage": pool.reserved_percentage,
    }
    return {key: value for key, value in keys.items() if value is not None}
