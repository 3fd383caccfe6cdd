"""The simulated arrays: pools, volumes, clones and space, as pure state without a clock.

One `Array` stands for one backend (one storage system with its pools). Every operation checks its limits in
the order of a real array. It either fails at once with a `Refusal`, or takes its space and place and returns
its duration in seconds; the engines let that time pass. Space comes back in `end_delete`. Sizes are GiB (2^30
bytes); a volume's size is an integer, as in Cinder.

Physical space on a thin pool belongs to *lineages*: the data of one download, shared by all its copy-on-write
clones until the last is gone. On a thick pool every volume holds its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn, Protocol

from sim.inputs.hosts import host_of, parts_of
from sim.inputs.units import GIB, MIB
from sim.model import rules
from sim.model.rules import PAYERS, Kind

if TYPE_CHECKING:
    from sim.inputs.backend import Backend, Pool
    from sim.inputs.scenario import Image


Member = tuple[Kind, str]  # the volumes of a kind and a tier


class Refusal(Exception):
    """An array refuses an operation and takes nothing; the text gives the reason."""


class AtCloneLimit(Refusal):
    """The source has as many clones, or its family as many volumes, as it may have: `limit`."""

    def __init__(self, text: str, limit: int | None) -> None:
        super().__init__(text)
        self.limit = limit


class Busy(Refusal):
    """The volume to delete has clones, and the array keeps a volume with clones."""


class Full(Refusal):
    """No place for one more volume. One of the pools `hosts` must lose a volume first."""

    def __init__(self, text: str, hosts: Sequence[str]) -> None:
        super().__init__(text)
        self.hosts = hosts


def refusal_text(why: int, host: str, spec: Backend, volume_id: str, gib: float) -> str:
    """The array's message for a refusal, on a pool of `spec`; `gib` is the amount that does not fit."""
    name, pool = parts_of(host)
    if why == rules.POOL_FULL:
        return f"{host} is at its limit of {spec.pools[pool].max_volumes} volumes"
    return {
        rules.ARRAY_FULL: f"{name} is at its limit of {spec.max_volumes} volumes",
        rules.NO_PROVISION: f"{host} has no {gib} GiB left to provision",
        rules.NO_SPACE: f"{host} has no {gib:g} GiB of physical space left",
        rules.MISSING: f"volume {volume_id} is not on {name}",
        rules.STILL_THERE: f"volume {volume_id} is still on {name}",
        rules.CLONE_LIMIT: f"volume {volume_id} is at its limit of {spec.max_clones_per_volume} clones",
        rules.FAMILY_LIMIT: f"the family of volume {volume_id} is at its limit of {spec.clone_family_limit}",
        rules.BUSY: f"volume {volume_id} has clones",
    }[why]


class Meter(Protocol):
    """Receives every change as it happens."""

    def add(
        self, host: str, tier: str, kind: str, volumes: int, provisioned: float, physical: float
    ) -> None: ...


@dataclass(frozen=True)
class Content:
    """The data of a download: one version of an image.

    `key` identifies the version (arrays that deduplicate hold each once); `gib` is the space on a thin pool.
    """

    key: tuple[object, ...]
    gib: float


@dataclass(eq=False, slots=True)
class Lineage:
    """Data on a thin pool, shared by the volumes that were cloned from one another."""

    content: Content
    pool: PoolState
    members: dict[Member, int] = field(default_factory=dict)
    payer: Member | None = None


@dataclass(eq=False, slots=True)
class Family:
    """A volume and all copy-on-write clones that descend from it: how many of them live."""

    volumes: int = 0


@dataclass(eq=False, slots=True)
class ArrayVolume:
    """A volume as the array knows it."""

    id: str
    pool: PoolState
    size_gib: int
    kind: Kind
    tier: str
    source: ArrayVolume | None = None
    lineage: Lineage | None = None
    family: Family = field(default_factory=Family)
    clones: int = 0


@dataclass(eq=False, slots=True)
class PoolState:
    """A pool's limits and how much of them is in use."""

    host: str
    spec: Pool
    max_volumes: float
    capacity_gib: float
    promise_gib: float  # the largest provisioned space
    volumes: int = 0
    cached: int = 0
    provisioned_gib: int = 0
    physical_gib: float = 0.0
    lineages: dict[tuple[object, ...], Lineage] = field(default_factory=dict)


@lru_cache(4096)
def _payer(members: tuple[Member, ...]) -> Member | None:
    """Who of a lineage's members pays for it; they are in the order of their arrival."""
    ranked = ((rules.payer_rank(PAYERS.index(who[0]), since), who) for since, who in enumerate(members))
    return min(ranked)[1] if members else None


def written_bytes(image: Image, spec: Backend) -> int:
    """How many bytes an array writes for a volume of an image: the data, and zeros that it does not skip.

    `qemu-img convert` skips zeros if the target reads as zeros, or can be made to (`convert_do_copy` in
    qemu-img.c). Cinder gives `-S 0`, against this, only when it reimages a volume (`disable_sparse`).
    """
    return image.virtual_size_bytes if spec.write_zeroes == "written" else image.data_bytes


def content_of(image: Image, version: object, spec: Backend) -> Content:
    """The content of a volume after `image` was written to it."""
    return Content((image.image_id, version), written_bytes(image, spec) / GIB)


def file_of(image: Image, version: object, spec: Backend) -> Content:
    """The content of the Cinder store's image-volume: the file's bytes, which are the data if raw."""
    if image.disk_format == "raw" and image.size_bytes == written_bytes(image, spec):
        return content_of(image, version, spec)
    return Content((image.image_id, version, "file"), image.size_bytes / GIB)


class Array:
    """A backend's array. `name` is the backend's, `meter` receives every change of space."""

    def __init__(self, name: str, spec: Backend, meter: Meter) -> None:
        self.name = name
        self.spec = spec
        self.meter = meter
        self.shares = spec.array_mib_s is not None  # writes share a rate
        self.volumes: dict[str, ArrayVolume] = {}
        self.pools = {host_of(name, pool): self._pool(host_of(name, pool)) for pool in spec.pools}
        self._max_volumes = rules.bound_of(spec.max_volumes)
        self._max_clones = rules.bound_of(spec.max_clones_per_volume)
        self._max_family = rules.bound_of(spec.clone_family_limit)
        # Of the copy that is a part of a clone's seconds: it may come apart.
        self._copy_mib_s = rules.bound_of(None if spec.copies_apart else spec.clone_mib_s)

    def _pool(self, host: str) -> PoolState:
        pool, spec = self.spec.pools[parts_of(host)[1]], self.spec
        capacity = rules.bound_of(pool.capacity_gib)
        promise = rules.provision_limit_gib(capacity, spec.max_over_subscription_ratio, spec.thin)
        return PoolState(host, pool, rules.bound_of(pool.max_volumes), capacity, promise)

    def create(self, volume_id: str, host: str, size_gib: int, kind: Kind, tier: str) -> float:
        """Take a place and `size_gib` of provisioned space for an empty volume; return its seconds."""
        pool = self.pools[host]
        self._check_new(volume_id, pool, size_gib)
        self._add(ArrayVolume(volume_id, pool, size_gib, kind, tier))
        return self.spec.create_s

    def write(self, volume_id: str, content: Content) -> None:
        """Take the physical space for the data to be written to a volume."""
        volume = self._get(volume_id)
        data_gib = self._new_data_gib(volume.pool, content)
        if why := self._check_space(volume.pool, 0, data_gib):
            self._refuse(why, volume.pool, volume_id, data_gib)
        self._hold(volume, self._lineage(volume.pool, content))

    def write_s(self, image: Image) -> float:
        """Seconds to convert (if not raw) and write an image, on one of the backend's write streams.

        If writes share a rate (`array_mib_s`), the seconds of the conversion alone.
        """
        written = written_bytes(image, self.spec)
        return self._moved_s(image, written, image.data_bytes, None if self.shares else self.spec.write_mib_s)

    def read_s(self, image: Image) -> float:
        """Seconds to read an image's content from a volume and convert it (if not raw)."""
        size = image.virtual_size_bytes
        return self._moved_s(image, size, size, self.spec.read_mib_s)

    def _moved_s(self, image: Image, moved: int, converted: int, mib_s: float | None) -> float:
        converted_mib = 0.0 if image.disk_format == "raw" else converted / MIB
        convert_mib_s = rules.bound_of(self.spec.convert_mib_s)
        return rules.moved_s(moved / MIB, converted_mib, rules.bound_of(mib_s), convert_mib_s)

    def clone(self, volume_id: str, source_id: str, host: str, size_gib: int, kind: Kind, tier: str) -> float:
        """Clone by copy-on-write or, with `clone_mib_s`, by a full copy; return the seconds it takes.

        With `copies_apart`, the copy of the source's size comes after these seconds.
        """
        pool, source = self.pools[host], self._get(source_id)
        lineage, copies = source.lineage, self.spec.clone_mib_s is not None
        data = lineage.content if copies and lineage else None
        self._check_new(volume_id, pool, size_gib, data, source, None if copies else source.family)
        if copies:
            volume = ArrayVolume(volume_id, pool, size_gib, kind, tier)
        else:
            volume = ArrayVolume(volume_id, pool, size_gib, kind, tier, source, None, source.family)
            source.clones += 1
        self._add(volume)
        if lineage:
            self._hold(volume, self._lineage(pool, lineage.content) if copies else lineage)
        return rules.clone_s(source.size_gib, self.spec.clone_s, self._copy_mib_s)

    def snapshot(self, snapshot_id: str, source_id: str) -> float:
        """Take a snapshot of a user's volume; return the seconds it takes.

        With `snapshots: volumes` it is a copy-on-write clone of the volume, of its size; else it takes
        nothing.
        """
        source = self._get(source_id)
        if self.spec.snapshots == "volumes":
            self._check_new(snapshot_id, source.pool, source.size_gib, None, source, source.family)
            pool, size_gib, tier = source.pool, source.size_gib, source.tier
            volume = ArrayVolume(snapshot_id, pool, size_gib, "user", tier, source, None, source.family)
            source.clones += 1
            self._add(volume)
            if source.lineage:
                self._hold(volume, source.lineage)
        return self.spec.clone_s

    def clone_from_glance(
        self, volume_id: str, host: str, size_gib: int, tier: str, content: Content
    ) -> float:
        """Clone a raw image beside the pool by the driver itself (RBD); return the seconds it takes.

        A copy-on-write clone of Glance's own data takes no space here and is not the clone of a volume.
        """
        pool, copies = self.pools[host], self.spec.clone_mib_s is not None
        self._check_new(volume_id, pool, size_gib, content if copies else None)
        volume = ArrayVolume(volume_id, pool, size_gib, "user", tier)
        self._add(volume)
        if copies:
            self._hold(volume, self._lineage(pool, content))
        return rules.clone_s(content.gib, self.spec.clone_s, self._copy_mib_s)

    def extend(self, volume_id: str, size_gib: int) -> float:
        """Grow (or shrink) a volume to `size_gib`; return the seconds it takes."""
        volume = self._get(volume_id)
        grown = size_gib - volume.size_gib
        if why := self._check_space(volume.pool, grown, 0.0):
            self._refuse(why, volume.pool, volume_id, grown)
        volume.size_gib = size_gib
        self._change(volume, 0, grown)
        return self.spec.extend_s

    def begin_delete(self, volume_id: str) -> float | None:
        """Start a delete: the seconds until `end_delete`, or None if the array has no such volume."""
        volume = self.volumes.get(volume_id)
        if volume is None:
            return None
        if why := rules.delete_refusal(volume.clones, self.spec.delete_with_clones == "busy"):
            self._refuse(why, volume.pool, volume_id)
        return self.spec.delete_s

    def end_delete(self, volume_id: str) -> None:
        """Free the space and the place of a volume, unless another delete of it has done so."""
        volume = self.volumes.pop(volume_id, None)
        if volume is None:
            return
        volume.family.volumes -= 1
        if volume.source is not None:
            volume.source.clones -= 1
        if volume.lineage is not None:
            self._release(volume, volume.lineage)
        self._change(volume, -1, -volume.size_gib)

    def has_place(self, host: str) -> bool:
        """Whether the volume limits of pool and array allow one more volume."""
        return not self._check_count(self.pools[host])

    def cached(self, host: str) -> int:
        """Number of the cache's image-volumes that use a place that a new volume on `host` would need."""
        pool = self.pools[host]
        if self._check_count(pool) == rules.POOL_FULL:
            return pool.cached
        return sum(each.cached for each in self.pools.values())

    # -- checks ----------------------------------------------------------------------------------

    def _get(self, volume_id: str) -> ArrayVolume:
        volume = self.volumes.get(volume_id)
        if volume is None:
            raise Refusal(refusal_text(rules.MISSING, self.name, self.spec, volume_id, 0))
        return volume

    def _check_new(
        self,
        volume_id: str,
        pool: PoolState,
        size_gib: int,
        data: Content | None = None,
        source: ArrayVolume | None = None,
        family: Family | None = None,
    ) -> None:
        data_gib = self._new_data_gib(pool, data) if data else 0.0
        why = rules.new_refusal(
            volume_id in self.volumes,
            source.clones if source else 0,
            self._max_clones,
            family.volumes if family else 0,
            self._max_family,
            self._check_count(pool),
            self._check_space(pool, size_gib, data_gib),
        )
        if why:
            told = source.id if source and why in (rules.CLONE_LIMIT, rules.FAMILY_LIMIT) else volume_id
            self._refuse(why, pool, told, data_gib if why == rules.NO_SPACE else size_gib)

    def _check_count(self, pool: PoolState) -> int:
        return rules.place_refusal(pool.volumes, pool.max_volumes, len(self.volumes), self._max_volumes)

    def _check_space(self, pool: PoolState, size_gib: int, data_gib: float) -> int:
        return rules.space_refusal(
            size_gib,
            pool.provisioned_gib,
            pool.promise_gib,
            data_gib,
            pool.physical_gib,
            pool.capacity_gib,
        )

    def _refuse(self, why: int, pool: PoolState, volume_id: str, gib: float = 0) -> NoReturn:
        text = refusal_text(why, pool.host, self.spec, volume_id, gib)
        if why in (rules.POOL_FULL, rules.ARRAY_FULL):
            raise Full(text, [pool.host] if why == rules.POOL_FULL else list(self.pools))
        if why == rules.CLONE_LIMIT:
            raise AtCloneLimit(text, self.spec.max_clones_per_volume)
        if why == rules.FAMILY_LIMIT:
            raise AtCloneLimit(text, self.spec.clone_family_limit)
        raise (Busy if why == rules.BUSY else Refusal)(text)

    # -- space and counts --------------------------------------------------------------------

    def _add(self, volume: ArrayVolume) -> None:
        self.volumes[volume.id] = volume
        volume.family.volumes += 1
        self._change(volume, 1, volume.size_gib)

    def _change(self, volume: ArrayVolume, count: int, size_gib: int) -> None:
        pool = volume.pool
        pool.volumes += count
        if volume.kind == "cache":
            pool.cached += count
        pool.provisioned_gib += size_gib
        physical = 0.0 if self.spec.thin else float(size_gib)
        pool.physical_gib += physical
        self.meter.add(pool.host, volume.tier, volume.kind, count, size_gib, physical)

    def _new_data_gib(self, pool: PoolState, content: Content) -> float:
        """GiB that a copy of `content` would add to a pool."""
        there = self.spec.dedupe and content.key in pool.lineages
        return rules.new_data_gib(content.gib, self.spec.thin, there)

    def _lineage(self, pool: PoolState, content: Content) -> Lineage:
        """The lineage that new data join: the version's if the array deduplicates, else a new one."""
        if not self.spec.dedupe:
            return Lineage(content, pool)
        return pool.lineages.setdefault(content.key, Lineage(content, pool))

    def _hold(self, volume: ArrayVolume, lineage: Lineage) -> None:
        volume.lineage = lineage
        member = (volume.kind, volume.tier)
        lineage.members[member] = lineage.members.get(member, 0) + 1
        if lineage.members[member] == 1:  # else the payer remains the same
            self._charge(lineage)

    def _release(self, volume: ArrayVolume, lineage: Lineage) -> None:
        member = (volume.kind, volume.tier)
        lineage.members[member] -= 1
        if not lineage.members[member]:
            del lineage.members[member]
            self._charge(lineage)
        if not lineage.members:
            lineage.pool.lineages.pop(lineage.content.key, None)

    def _charge(self, lineage: Lineage) -> None:
        """Assign a lineage to its payer (on thick pools each volume already pays for itself)."""
        if not self.spec.thin:
            return
        members = tuple(lineage.members)
        payer = members[0] if len(members) == 1 else _payer(members)
        if payer == lineage.payer:
            return
        before, lineage.payer = lineage.payer, payer
        if before is not None:
            self._pay(lineage, before, -lineage.content.gib)
        if payer is not None:
            self._pay(lineage, payer, lineage.content.gib)

    def _pay(self, lineage: Lineage, member: Member, gib: float) -> None:
        lineage.pool.physical_gib += gib
        self.meter.add(lineage.pool.host, member[1], member[0], 0, 0, gib)
