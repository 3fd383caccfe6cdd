"""The simulated array of the reference: pure state, written from the contract alone.

It shares nothing with `sim.model.arrays` on purpose: two readings of one paragraph check each other.
All sizes are GiB. Every refusal is raised at once, as the exception that a driver raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from cinder import exception

GIB = 2**30


@dataclass
class Volume:
    """One volume on the array, from the start of its making to the end of its delete."""

    id: str
    pool: str
    size: int
    data: Any = None  # (pool, key) of the lineage whose data it holds; None: nothing written
    parent: str | None = None  # whose copy-on-write clone it is
    first: str = ""  # the volume from which its family descends, itself if it is no clone


@dataclass
class Array:
    """One backend's array; `spec` is its `sim.inputs.scenario.Backend`."""

    spec: Any
    volumes: dict[str, Volume] = field(default_factory=dict)
    lineages: dict[tuple[str, Any], float] = field(default_factory=dict)  # (pool, key) -> GiB
    founded: Iterator[int] = field(default_factory=count)  # numbers of families: an id may come again

    # What the array holds

    def clones(self, volume_id: str) -> int:
        return sum(v.parent == volume_id for v in self.volumes.values())

    def in_pool(self, pool: str) -> list[Volume]:
        return [v for v in self.volumes.values() if v.pool == pool]

    def provisioned(self, pool: str) -> int:
        return sum(v.size for v in self.in_pool(pool))

    def physical(self, pool: str) -> float:
        if not self.spec.thin:
            return float(self.provisioned(pool))
        # Data stay where they were written, whichever pools their copy-on-write clones are on.
        held = {v.data for v in self.volumes.values() if v.data is not None}
        return sum(self.lineages[data] for data in held if data[0] == pool)

    # Checks

    def _check_place(self, pool: str) -> None:
        limit = self.spec.pools[pool].max_volumes
        if limit is not None and len(self.in_pool(pool)) >= limit:
            raise backend_error(f"pool {pool} has {limit} volumes")
        if self.spec.max_volumes is not None and len(self.volumes) >= self.spec.max_volumes:
            raise backend_error(f"the array has {self.spec.max_volumes} volumes")

    def _check_space(self, pool: str, provisioned: int, written: float) -> None:
        capacity = self.spec.pools[pool].capacity_gib
        if capacity is None:
            return
        ratio = self.spec.max_over_subscription_ratio if self.spec.thin else 1
        if self.provisioned(pool) + provisioned > capacity * ratio:
            raise backend_error(f"pool {pool} is out of provisioned space")
        taken = written if self.spec.thin else provisioned
        if taken and self.physical(pool) + taken > capacity:
            raise backend_error(f"pool {pool} is out of physical space")

    def _add(self, volume: Volume, written: float = 0.0) -> None:
        if volume.id in self.volumes:
            raise backend_error(f"{volume.id} exists")
        if volume.parent is not None:
            limit = self.spec.max_clones_per_volume
            if limit is not None and self.clones(volume.parent) >= limit:
                raise exception.SnapshotLimitReached(set_limit=limit)
            limit = self.spec.clone_family_limit
            volume.first = self.volumes[volume.parent].first
            if limit is not None and sum(v.first == volume.first for v in self.volumes.values()) >= limit:
                raise exception.SnapshotLimitReached(set_limit=limit)
        volume.first = volume.first or f"{volume.id} {next(self.founded)}"
        self._check_place(volume.pool)
        self._check_space(volume.pool, volume.size, written)
        self.volumes[volume.id] = volume

    # Operations

    def put(self, volume_id: str, pool: str, size: int, gib: float, version: Any) -> None:
        """A volume that comes with `gib` of data (0: none that takes space here)."""
        data = (pool, self._key(volume_id, version)) if gib else None
        held = self._held(data)
        self._add(Volume(volume_id, pool, size), 0.0 if held else gib)
        self.volumes[volume_id].data = data
        if data is not None and not held:
            self.lineages[data] = gib

    def create(self, volume_id: str, pool: str, size: int) -> None:
        """A blank volume."""
        self._add(Volume(volume_id, pool, size))

    def clone(self, volume_id: str, pool: str, size: int, source_id: str) -> None:
        """A clone on any pool of the array. The source may lie on another array, which is an error."""
        source = self.volumes.get(source_id)
        if source is None:
            raise backend_error(f"no volume {source_id}")
        if self.spec.clone_mib_s is None:
            self._add(Volume(volume_id, pool, size, source.data, source.id))
            return
        gib = self.lineages[source.data] if source.data is not None else 0.0
        key = source.data[1] if source.data is not None and self.spec.dedupe else ("copy", volume_id)
        held = self._held((pool, key))
        self._add(Volume(volume_id, pool, size), 0.0 if held else gib)
        if source.data is not None:
            self.lineages[pool, key] = gib
            self.volumes[volume_id].data = pool, key

    def snapshot(self, snapshot_id: str, volume_id: str) -> None:
        """A copy-on-write clone, even on arrays whose clones are full copies."""
        source = self.volumes[volume_id]
        self._add(Volume(snapshot_id, source.pool, source.size, source.data, source.id))

    def write(self, volume_id: str, gib: float, version: Any) -> None:
        """An image's data onto a blank volume."""
        volume = self.volumes[volume_id]
        data = volume.pool, self._key(volume_id, version)
        if not self._held(data):
            capacity = self.spec.pools[volume.pool].capacity_gib if self.spec.thin else None
            if capacity is not None and self.physical(volume.pool) + gib > capacity:
                raise backend_error(f"pool {volume.pool} is out of physical space")
            self.lineages[data] = gib
        volume.data = data

    def extend(self, volume_id: str, size: int) -> None:
        volume = self.volumes.get(volume_id)
        if volume is None:
            raise backend_error(f"no volume {volume_id}")
        self._check_space(volume.pool, size - volume.size, 0.0)
        volume.size = size

    def check_delete(self, volume_id: str) -> None:
        if self.spec.delete_with_clones == "busy" and self.clones(volume_id):
            raise exception.VolumeIsBusy(volume_name=volume_id)

    def remove(self, volume_id: str) -> None:
        self.volumes.pop(volume_id, None)

    def _held(self, data: Any) -> bool:
        return data in {v.data for v in self.volumes.values()} - {None}

    def _key(self, volume_id: str, version: Any) -> Any:
        return ("version", version) if self.spec.dedupe else ("volume", volume_id)

    def report(self, pool: str) -> dict[str, Any]:
        """What a driver says of a pool in its stats."""
        capacity = self.spec.pools[pool].capacity_gib
        unlimited = capacity is None
        return {
            "pool_name": pool,
            "total_capacity_gb": "infinite" if unlimited else capacity,
            "free_capacity_gb": "infinite" if unlimited else capacity - self.physical(pool),
            "provisioned_capacity_gb": self.provisioned(pool),
            "thin_provisioning_support": self.spec.thin,
            "thick_provisioning_support": not self.spec.thin,
            "max_over_subscription_ratio": self.spec.max_over_subscription_ratio,
            "reserved_percentage": self.spec.reserved_percentage,
        }


def backend_error(text: str) -> exception.VolumeBackendAPIException:
    return exception.VolumeBackendAPIException(data=text)
