"""Looks at a run from the inside and notes whatever breaks an invariant (numbers as in INVARIANTS.md).

The run is built from subclasses of the engine's classes that do the same and then look. They keep books of
their own (order of use, fills under way, orphans) and count the arrays afresh, so that the engine's own
counters are checked and not trusted. Breaks are noted and not raised: Cinder's code catches exceptions.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from sim.cinder.clock import Process, current_process
from sim.cinder.database import INTERNAL_PROJECT, STORE_PROJECT
from sim.cinder.glance import Glance
from sim.inputs.backend import Backend
from sim.inputs.quotas import limits_of
from sim.inputs.scenario import Case
from sim.inputs.strategies import STRATEGIES
from sim.model.arrays import Array

# What is watched, in a few words; tests/properties/INVARIANTS.md has the whole text.
RULES = {
    "I1": "with one fill at a time, a pool's entries respect the limits",
    "I2": "entries exceed the limits by no more than the fills that run at the same time",
    "I3": "victims are the least recently used entries, and no more than needed",
    "I4": "an image larger than image_volume_cache_max_size_gb evicts nothing and is not admitted",
    "I5": "without limits nothing is evicted for room",
    "I6": "an entry is found and cloned only for who read the same updated_at",
    "I7": "every entry has one image-volume, and every image-volume an entry",
    "I8": "no pool or array exceeds its limits",
    "I9": "encrypted volumes use neither the cache nor the store",
    "I11": "every create has one result",
    "I15": "every strategy sees the same creates",
    "I16": "no volume has more clones than max_clones_per_volume",
    "I17": "no project exceeds a quota",
    "I18": "waits are a part of the create's time",
    "I19": "attempts are at most scheduler_max_attempts, and end on a pool that serves the create",
    "I20": "a pool has one entry of an image",
    "I21": "clones come from where the strategy and the driver allow it",
    "I22": "entries come from downloads, and go once",
    "I23": "means are at most peaks, and pools add up",
    "I24": "an available volume is on its pool",
    "I25": "one fill of an image runs at a time",
    "I32": "a look-up takes the entry that was used last",
}


@dataclass
class Broken:
    """How a rule was broken first: in which create ('' if in none) and when; and how often in all."""

    what: str
    volume_id: str
    time: float
    count: int = 1


class Watch:
    """The books of one run."""

    def __init__(self, case: Case, strategy: str) -> None:
        self.case = case
        self.strategy = STRATEGIES[strategy]
        self.broken: dict[str, Broken] = {}  # by rule
        self.arrays: dict[str, Array] = {}
        self.clock: Any = None
        self.db: Any = None
        self.quotas: Any = None
        self.quota_floor: dict[str, Counter[str]] = {}  # by project: what exists at the start may be over it
        self.glance: Glance | None = None
        self.first_version: object = None
        creates = case.trace.events[case.trace.events["event"] == "create"]
        # The image, by the volume that is made from it.
        self.asked = dict(zip(creates["volume_id"], creates["image_id"], strict=True))
        self.used: dict[str, int] = {}  # by an entry's volume: when it was used last, by a count
        self.uses = 0
        self.admitted: defaultdict[str, dict[str, int]] = defaultdict(dict)  # host: GiB by user volume
        self.slack: dict[str, tuple[int, int]] = {}  # host: how far the fills under way may overshoot
        self.filling: set[tuple[str, str]] = set()
        self.orphans: Counter[str] = Counter()
        self.served: Counter[str] = Counter()  # what has happened: an invariant never tried proves nothing

    def that(self, holds: bool, rule: str, what: object = "", volume_id: str = "") -> None:
        """Note a break of a rule. Without `volume_id` it happened in the create that is under way."""
        if holds:
            return
        if rule in self.broken:
            self.broken[rule].count += 1
            return
        process, time = current_process(), math.nan
        if isinstance(process, Process):
            time = self.clock.now
            volume_id = process.request.volume_id if process.request else ""
        self.broken[rule] = Broken(str(what), volume_id, time)

    def lines(self) -> tuple[str, ...]:
        """Each rule that was broken, with its first break."""
        return tuple(
            f"{rule}, {RULES[rule]}: broken {one.count:,} times, first"
            + ("" if math.isnan(one.time) else f" at {one.time:,.0f} s")
            + (f" in the create of {one.volume_id}" if one.volume_id else "")
            + f": {one.what}"
            for rule, one in sorted(self.broken.items(), key=lambda each: int(each[0][1:]))
        )

    def backend(self, host: str) -> Backend:
        return self.case.scenario.backends[host.partition("#")[0]]

    def entries(self, host: str) -> list[dict[str, Any]]:
        """A pool's entries, least recently used first, by our own books."""
        found = [entry for entry in self.db.entries() if entry["pool"] == host]
        return sorted(found, key=self.when_used)

    def when_used(self, entry: dict[str, Any]) -> int:
        return self.used[entry["volume_id"]]

    def use(self, entry: dict[str, Any]) -> None:
        self.uses += 1
        self.used[entry["volume_id"]] = self.uses

    def found(self, entry: Any, image_id: str, where: dict[str, str]) -> None:
        """I32: a look-up takes the entry used last of those that it may see, and uses it."""
        seen = [
            each
            for each in self.db.entries()
            if each["image_id"] == image_id and all(each[key] == value for key, value in where.items())
        ]
        last = max(seen, key=self.when_used, default=None)
        self.that(entry is last, "I32", f"found {named(entry)}, not {named(last)}")
        self.served["chosen among entries"] += len(seen) > 1
        if entry is not None:
            self.use(entry)

    def may_repeat(self, host: str) -> bool:
        """Whether a pool may have several entries of one image: its nodes have locks of their own."""
        by_node = self.case.scenario.cinder.lock_scope == "node"
        return by_node and len(self.backend(host).node_names) > 1

    def caches(self, host: str) -> bool:
        return self.strategy.image_volume_cache_enabled and self.backend(host).image_volume_cache_enabled

    def across(self) -> bool:
        """Whether some driver clones across pools."""
        return any(spec.clone_across_pools for spec in self.case.scenario.backends.values())

    # -- what holds at every moment --------------------------------------------------------------

    def look(self) -> None:
        """I7, I8, I16, I17 and the counters of the arrays, counted afresh."""
        if not isinstance(current_process(), Process):  # what exists at the start is being put in place
            return
        for array in self.arrays.values():
            self.look_at(array)
        self._entries_and_image_volumes()
        self._quota()

    def look_at(self, array: Array) -> None:
        """I8 and I16 on one array."""
        spec, volumes = array.spec, list(array.volumes.values())
        self.that(spec.max_volumes is None or len(volumes) <= spec.max_volumes, "I8", "array's volumes")
        clones = Counter(id(volume.source) for volume in volumes if volume.source)
        limit = spec.max_clones_per_volume
        for volume in volumes:
            count = clones[id(volume)]
            self.that(count == volume.clones, "I16", f"{volume.id} has {count} clones, not {volume.clones}")
            self.that(limit is None or count <= limit, "I16", f"{volume.id} has {count} clones")
        for host, pool in array.pools.items():
            here = [volume for volume in volumes if volume.pool is pool]
            provisioned = sum(volume.size_gib for volume in here)
            physical = float(provisioned)
            if spec.thin:
                lineages = {
                    id(each.lineage): each.lineage
                    for each in volumes
                    if each.lineage and each.lineage.pool is pool
                }
                physical = sum(lineage.content.gib for lineage in lineages.values())
            counted = (len(here), provisioned, physical, sum(each.kind == "cache" for each in here))
            noted = (pool.volumes, pool.provisioned_gib, pool.physical_gib, pool.cached)
            self.that(counted == noted, "I8", f"{host} holds {counted}, not {noted}")
            most, capacity = pool.spec.max_volumes, pool.spec.capacity_gib
            self.that(most is None or len(here) <= most, "I8", f"{host}: {len(here)} volumes")
            if capacity is not None:
                ratio = spec.max_over_subscription_ratio if spec.thin else 1
                self.that(provisioned <= capacity * ratio, "I8", f"{host}: {provisioned} GiB provisioned")
                self.that(physical <= capacity, "I8", f"{host}: {physical} GiB physical")

    def _entries_and_image_volumes(self) -> None:
        having = {}
        for entry in self.db.entries():
            volume_id, host = entry["volume_id"], entry["pool"]
            volume = self.arrays[host.partition("#")[0]].volumes.get(volume_id)
            there = volume is not None and (volume.kind, volume.pool.host) == ("cache", host)
            self.that(there, "I7", f"the entry of {entry['image_id']} on {host} has no image-volume")
            self.that(volume_id not in having, "I7", f"{volume_id} has two entries")
            having[volume_id] = entry
        orphans: Counter[str] = Counter()
        for array in self.arrays.values():
            for volume in array.volumes.values():
                if volume.kind == "cache" and volume.id not in having:
                    status = self.db.volumes[volume.id].status
                    orphans[volume.pool.host] += status not in ("creating", "deleting")
        self.that(+orphans == +self.orphans, "I7", f"orphans: {orphans}, counted {self.orphans}")

    def _quota(self) -> None:
        cinder, fresh = self.case.scenario.cinder, set()
        usage: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for volume in self.db.volumes.values():
            of_project = usage[volume.project_id]
            if volume.project_id != INTERNAL_PROJECT and volume.status in ("creating", "downloading"):
                fresh.add(volume.project_id)  # it may be as small as its image for a while
            for name, amount in (("volumes", 1), ("gigabytes", volume.size)):
                of_project[name] += amount
                of_project[f"{name}_{volume.volume_type_id}"] += amount
        # An uploaded image is counted first, then put on its arrays, then known to the database.
        owner = INTERNAL_PROJECT if cinder.internal_tenant_owns_store else STORE_PROJECT
        for project, counted in self.quotas.tables.in_use.items():
            tenant = project == INTERNAL_PROJECT
            limits = cinder.tenant_limits() if tenant else limits_of(cinder.quotas, project)
            if project == STORE_PROJECT:
                limits = {}
            floor = self.quota_floor.get(project, Counter())
            for name, used in counted.items():
                if project not in fresh or not name.startswith("gigabytes"):
                    told = f"{project}: in use {usage[project][name]} {name}, counted {used}"
                    there = usage[project][name]
                    self.that(there <= used if project == owner else there == used, "I17", told)
                within = name not in limits or used <= max(limits[name], floor[name])
                self.that(within, "I17", f"{project}: {used} {name} of {limits.get(name)}")

    # -- what happens ----------------------------------------------------------------------------

    def not_encrypted(self, volume: Any, what: str) -> None:
        self.that(volume.encryption_key_id is None, "I9", f"{what} for {volume.id}")

    def looked_up(self, volume: Any, image_id: str, image_meta: dict[str, Any], entry: Any) -> None:
        """I6: an entry is found only for who read the metadata that it was made from."""
        self.not_encrypted(volume, "a look-up")
        if entry is not None:
            wanted = image_meta["updated_at"].replace(tzinfo=None)
            read = current_process().request.image_version
            made = entry["image_updated_at"]
            self.that(made == wanted == read, "I6", f"{named(entry)} was made from {made}, read {read}")
            self.that(entry["image_id"] == image_id, "I6", "not the image's entry")
            here = entry["pool"] == volume.pool
            self.served["found on another pool"] += not here
            spec = self.backend(volume.pool)
            self.that(here or (spec.clone_across_pools and not spec.cluster), "I6", "not the pool's entry")

    def made_room(self, volume: Any, before: list[dict[str, Any]], admitted: bool) -> None:
        """I3, I4, I5 and that an admission finds or makes room (I1, I2)."""
        host, spec = volume.pool, self.backend(volume.pool)
        count, size = spec.image_volume_cache_max_count, spec.image_volume_cache_max_size_gb
        self.not_encrypted(volume, "a fill")
        after = {entry["volume_id"] for entry in self.entries(host)}
        gone = [entry for entry in before if entry["volume_id"] not in after]
        victims = images_of(gone)
        self.served["victims"] += len(gone)
        too_large = 0 < size < volume.size
        if too_large:
            self.served["too large"] += 1
            self.that(not gone, "I4", f"{volume.size} GiB evicted {victims}")
            self.that(not admitted, "I4", f"{volume.size} GiB admitted")
            return
        self.that(admitted, "I3", f"refused with {victims} evicted")
        if not count and not size:
            self.that(not gone, "I5", victims)

        def over(kept: list[dict[str, Any]]) -> bool:
            gib = sum(entry["size"] for entry in kept) + volume.size
            return 0 < count < len(kept) + 1 or 0 < size < gib

        need = next(n for n in range(len(before) + 1) if not over(before[n:]))
        needed = before[:need]
        self.that(
            gone == needed, "I3", f"evicted {victims}, least recently used and needed: {images_of(needed)}"
        )
        self.that(not over(self.entries(host)), "I2", "no room after an admission")
        fills = self.admitted[host]
        self.slack[host] = (len(fills), sum(fills.values()))
        fills[current_process().request.volume_id] = volume.size

    def entered(self, entry: dict[str, Any]) -> None:
        """I1 and I2: within the limits, but for the other fills under way at the last admission."""
        host, spec = entry["pool"], self.backend(entry["pool"])
        count, size = spec.image_volume_cache_max_count, spec.image_volume_cache_max_size_gb
        entries = self.entries(host)
        more, more_gib = self.slack[host]
        what = "I2" if more else "I1"
        self.served["overshoot"] += 0 < count < len(entries)
        gib = sum(each["size"] for each in entries)
        self.that(not count or len(entries) <= count + more, what, f"{len(entries)} entries of {count}")
        self.that(not size or gib <= size + more_gib, what, f"{gib} GiB of {size}")
        images = [each["image_id"] for each in entries]
        repeated = len(set(images)) < len(images)
        self.served["repeated"] += repeated
        self.that(not repeated or self.may_repeat(host), "I20", f"two entries of an image on {host}")
        volume = self.arrays[host.partition("#")[0]].volumes[entry["volume_id"]]
        self.holds(volume, entry["image_id"], entry["image_updated_at"], "I6")
        self.admitted[host].pop(current_process().request.volume_id, None)

    def holds(self, volume: Any, image_id: str, version: object, invariant: str) -> None:
        """The data on the array are that version of the image."""
        named, wrote = volume.lineage.content.key[:2] if volume.lineage else (None, None)
        wrote = self.first_version if wrote is None else wrote
        what = f"{volume.id} holds {named} as of {wrote}, wanted {image_id} as of {version}"
        self.that((named, wrote) == (image_id, version), invariant, what)

    def cloned(self, array: Array, volume_id: str, source: Any) -> None:
        """I6 on the array itself, I9 and I21: what a user's volume was cloned from."""
        volume, request = array.volumes[volume_id], current_process().request
        if volume.kind != "user":
            fills = volume.kind == "store" or source.id == request.volume_id
            self.that(source.kind == "user" and fills, "I7", "what fills the cache")
            return
        self.served[source.kind] += 1
        self.not_encrypted(self.db.volumes[volume_id], f"a clone from the {source.kind}")
        here = source.pool is volume.pool or array.spec.clone_across_pools
        self.that(here, "I21", f"{volume_id} was cloned from another pool")
        if source.kind == "cache":
            self.holds(source, self.asked[volume_id], request.image_version, "I6")
        else:
            image = self.case.images[self.asked[volume_id]]
            raw = (image.disk_format, image.container_format) == ("raw", "bare")
            self.that(raw and self.strategy.uses_store, "I21", f"{image.image_id} cloned from the store")
            self.that(source.lineage.content.key[0] == image.image_id, "I21", "another image's volume")


def images_of(entries: list[dict[str, Any]]) -> str:
    return ", ".join(entry["image_id"] for entry in entries) or "none"


def named(entry: dict[str, Any] | None) -> str:
    return "none" if entry is None else f"the entry of {entry['image_id']} on {entry['pool']}"
