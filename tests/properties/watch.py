"""Looks at a run from the inside and notes whatever breaks an invariant (numbers as in INVARIANTS.md).

The run is built from subclasses of the engine's classes that do the same and then look. They keep books of
their own (order of use, fills under way, orphans) and count the arrays afresh, so that the engine's own
counters are checked and not trusted. Breaks are noted and not raised: Cinder's code catches exceptions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import wraps
from typing import Any

from sim.cinder import engine
from sim.cinder.clock import Process, current_process
from sim.cinder.database import INTERNAL_PROJECT, STORE_PROJECT, Database
from sim.cinder.glance import Glance
from sim.cinder.manager import VolumeManager
from sim.cinder.parts import Parts
from sim.cinder.policies import CACHES, ObservedCache
from sim.cinder.quotas import Quotas
from sim.inputs.backend import Backend
from sim.inputs.quotas import limits_of
from sim.inputs.scenario import Case
from sim.inputs.strategies import STRATEGIES
from sim.model.arrays import Array
from sim.model.records import Records
from sim.model.usage import UsageMeter

SOURCES = {"driver", "store", "cache", "download", "none"}


class Watch:
    """The books of one run."""

    def __init__(self, case: Case, strategy: str) -> None:
        self.case = case
        self.strategy = STRATEGIES[strategy]
        self.broken: list[str] = []
        self.arrays: dict[str, Array] = {}
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

    def that(self, holds: bool, invariant: str, what: object = "") -> None:
        """Note a break of an invariant."""
        if not holds and len(self.broken) < 5:
            self.broken.append(f"{invariant}: {what}")

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
        self.that(entry is last, "I32", f"found {entry}, not {last}")
        self.served["chosen among entries"] += len(seen) > 1
        if entry is not None:
            self.use(entry)

    def may_repeat(self, host: str) -> bool:
        """Whether a pool may have several entries of one image: its nodes have locks of their own."""
        by_node = self.case.scenario.cinder.lock_scope == "node"
        return by_node and len(self.backend(host).node_names) > 1

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
        for project, counted in self.quotas.tables.in_use.items():
            tenant = project == INTERNAL_PROJECT
            limits = cinder.tenant_limits() if tenant else limits_of(cinder.quotas, project)
            if project == STORE_PROJECT:
                limits = {}
            floor = self.quota_floor.get(project, Counter())
            for name, used in counted.items():
                if project not in fresh or not name.startswith("gigabytes"):
                    told = f"{project}: in use {usage[project][name]} {name}, counted {used}"
                    self.that(usage[project][name] == used, "I17", told)
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
            self.that(entry["image_updated_at"] == wanted == read, "I6", f"{image_id}: {entry}, read {read}")
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
        victims = [entry["image_id"] for entry in gone]
        self.served["victims"] += len(victims)
        too_large = 0 < size < volume.size
        if too_large:
            self.served["too large"] += 1
            self.that(not victims, "I4", f"{volume.size} GiB evicted {victims}")
            self.that(not admitted, "I4", f"{volume.size} GiB admitted")
            return
        self.that(admitted, "I3", f"refused with {victims} evicted")
        if not count and not size:
            self.that(not victims, "I5", victims)

        def over(kept: list[dict[str, Any]]) -> bool:
            gib = sum(entry["size"] for entry in kept) + volume.size
            return 0 < count < len(kept) + 1 or 0 < size < gib

        need = next(n for n in range(len(before) + 1) if not over(before[n:]))
        needed = before[:need]
        self.that(gone == needed, "I3", f"evicted {gone}, least recently used and needed {needed}")
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
            self.that(source.kind == "user" and source.id == request.volume_id, "I7", "what fills the cache")
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

    # -- what holds of the tables ------------------------------------------------------------------

    def check(self, records: Records) -> None:
        """The invariants that a finished run's tables must keep."""
        self._requests(records)
        self._cache_events(records)
        self._usage(records)
        self._volumes_at_the_end(records)

    def _requests(self, records: Records) -> None:
        cinder = self.case.scenario.cinder
        events, requests = self.case.trace.events, records.requests
        creates = events[(events["event"] == "create") & (events["image_id"] != "")]
        self.that(len(requests) == len(creates), "I11", "a row for each create")
        self.that(int(requests["source"].isin(SOURCES).sum()) == len(requests), "I11", "sources")
        for asked, row in zip(creates.to_dict("records"), requests.to_dict("records"), strict=True):
            who, error = row["volume_id"], row["status"] == "error"
            self.that(row["status"] in ("available", "error"), "I11", row)
            self.that((row["source"] == "none") == error == bool(row["error"]), "I11", row)
            for column in ("volume_id", "image_id", "volume_type", "size_gib", "time"):
                self.that(row[column] == asked[column], "I15", f"{who}: {column}")
            waited = row["lock_wait_s"] + row["stream_wait_s"]
            self.that(min(row["lock_wait_s"], row["stream_wait_s"]) >= 0, "I18", row)
            self.that(waited <= row["end"] - row["time"] + 1e-9, "I18", row)
            most = 1 if asked["host"] else cinder.scheduler_max_attempts
            self.that(0 <= row["attempts"] <= most, "I19", row)
            self.that(row["attempts"] > 0 or (error and row["host"] == ""), "I19", row)
            if asked["host"]:
                self.that(row["host"] in ("", asked["host"]), "I19", row)
            if row["host"]:
                self.that(asked["volume_type"] in self.backend(row["host"]).volume_types, "I19", row)
            if asked["encrypted"]:
                self.that(row["source"] in ("download", "none"), "I9", row)
                self.that(row["lock_wait_s"] == 0, "I9", "waited for the image's lock")
            self.that(row["source"] != "store" or self.strategy.uses_store, "I21", row)
            self.that(row["source"] != "cache" or self.caches(row["host"]), "I21", row)
        self.served += Counter(requests["source"])
        self.served["rescheduled"] += int((requests["attempts"] > 1).sum())

    def caches(self, host: str) -> bool:
        return self.strategy.image_volume_cache_enabled and self.backend(host).image_volume_cache_enabled

    def across(self) -> bool:
        """Whether some driver clones across pools."""
        return any(spec.clone_across_pools for spec in self.case.scenario.backends.values())

    def _cache_events(self, records: Records) -> None:
        """I22: entries at the start + made - gone = entries at the end; only a download fills."""
        balance: Counter[tuple[str, str]] = Counter()
        initial = self.case.initial
        for row in initial[initial["kind"] == "cache"].to_dict("records"):
            balance[row["host"], row["image_id"]] += 1
        requests = records.requests.set_index("volume_id")
        sources, attempts = requests["source"].to_dict(), requests["attempts"].to_dict()
        for row in records.cache_events.to_dict("records"):
            # Whoever looks across pools may drop an entry that was there at the start.
            drops = row["event"] in ("stale", "clone_limit") and self.across()
            self.that(self.caches(row["host"]) or drops, "I22", f"no cache there: {row}")
            self.served[row["event"]] += 1
            if row["event"] != "skip":
                balance[row["host"], row["image_id"]] += 1 if row["event"] == "create" else -1
            most = len(records.cache_events) if self.may_repeat(row["host"]) else 1
            self.that(0 <= balance[row["host"], row["image_id"]] <= most, "I22", row)
            if row["event"] in ("create", "skip", "evict") and attempts[row["volume_id"]] == 1:
                self.that(sources[row["volume_id"]] in ("download", "none"), "I22", row)
            if row["event"] == "evict":
                spec = self.backend(row["host"])
                limited = spec.image_volume_cache_max_count or spec.image_volume_cache_max_size_gb
                self.that(bool(limited), "I5", row)
        left = Counter(zip(records.cache["host"], records.cache["image_id"], strict=True))
        self.that(+balance == left, "I22", f"{balance} left, not {left}")

    def _usage(self, records: Records) -> None:
        """I23: means are at most peaks, pools and tiers add up to all, image = cache + store."""
        rows = {(row["scope"], row["name"], row["kind"]): row for row in records.usage.to_dict("records")}
        for quantity in ("volumes", "provisioned_gib", "physical_gib"):
            added: Counter[tuple[str, str]] = Counter()
            for (scope, name, kind), row in rows.items():
                mean, peak = row[f"{quantity}_mean"], row[f"{quantity}_peak"]
                self.that(-1e-9 <= mean <= peak + 1e-9, "I23", f"{mean} {quantity} of at most {peak}")
                added[scope, kind] += mean
                if kind == "image":
                    parts = sum(rows[scope, name, each][f"{quantity}_mean"] for each in ("cache", "store"))
                    self.that(abs(mean - parts) < 1e-6, "I23", f"{quantity}: image is not cache + store")
            for (scope, kind), total in added.items():
                off = abs(total - added["all", kind])
                self.that(off < 1e-6, "I23", f"{quantity} of each {scope} do not add up")
        orphans = Counter(
            {
                name: row["volumes_end"]
                for (scope, name, kind), row in rows.items()
                if (scope, kind) == ("pool", "orphan")
            }
        )
        self.that(+orphans == +self.orphans, "I7", f"orphans in usage: {orphans}, not {self.orphans}")
        self.served["orphans"] += sum(self.orphans.values())

    def _volumes_at_the_end(self, records: Records) -> None:
        """I24: what is available and was not deleted is on its array, of the size asked for.

        Of one attempt: the delete of what a failed one left may take the volume that a later one made.
        """
        events = self.case.trace.events
        deleted = set(events[events["event"] == "delete"]["volume_id"])
        for row in records.requests.to_dict("records"):
            kept = row["status"] == "available" and row["volume_id"] not in deleted
            if kept and row["attempts"] == 1:
                volume = self.arrays[row["host"].partition("#")[0]].volumes.get(row["volume_id"])
                there = volume is not None and (volume.pool.host, volume.size_gib, volume.kind)
                self.that(there == (row["host"], row["size_gib"], "user"), "I24", row)


def watching(watch: Watch) -> Parts:
    """The parts of a simulation that is watched."""

    class WatchedArray(Array):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            watch.arrays[self.name] = self

        def clone(self, volume_id: str, source_id: str, *args: Any) -> float:
            source = self.volumes.get(source_id)
            seconds = super().clone(volume_id, source_id, *args)
            watch.cloned(self, volume_id, source)
            watch.look()
            return seconds

    for name in ("create", "write", "clone_from_glance", "extend", "begin_delete", "end_delete"):
        setattr(WatchedArray, name, _then_look(getattr(Array, name), watch))

    class WatchedDatabase(Database):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            watch.db = self

        def add_entry(self, *args: Any) -> Any:
            entry = super().add_entry(*args)
            watch.use(entry)
            return entry

        def image_volume_cache_create(self, *args: Any) -> Any:
            entry = super().image_volume_cache_create(*args)
            watch.entered(entry)
            watch.look()
            return entry

        def image_volume_cache_delete(self, *args: Any) -> None:
            super().image_volume_cache_delete(*args)
            watch.look()

        def image_volume_cache_get_and_update_last_used(
            self, context: Any, image_id: str, **where: str
        ) -> Any:
            entry = super().image_volume_cache_get_and_update_last_used(context, image_id, **where)
            watch.found(entry, image_id, where)
            return entry

    class WatchedQuotas(Quotas):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            watch.quotas = self

        def count(self, project_id: str, *args: Any) -> None:
            super().count(project_id, *args)
            watch.quota_floor[project_id] = Counter(self.tables.in_use[project_id])

    class WatchedCache(ObservedCache):
        def get_entry(self, context: Any, volume: Any, image_id: str, meta: Any, **kwargs: Any) -> Any:
            entry = super().get_entry(context, volume, image_id, meta, **kwargs)
            watch.looked_up(volume, image_id, meta, entry)
            return entry

        def ensure_space(self, context: Any, volume: Any) -> bool:
            before = watch.entries(volume.pool)
            admitted = super().ensure_space(context, volume)
            watch.made_room(volume, before, admitted)
            return admitted

    class WatchedManager(VolumeManager):
        def _create_image_cache_volume_entry(
            self, context: Any, volume: Any, image_id: str, image_meta: Any
        ) -> None:
            by_node = watch.case.scenario.cinder.lock_scope == "node"
            key = (current_process().node if by_node else "", image_id)
            watch.that(key not in watch.filling, "I25", f"{image_id} is being filled already")
            watch.filling.add(key)
            try:
                super()._create_image_cache_volume_entry(context, volume, image_id, image_meta)
            finally:
                watch.filling.discard(key)
                watch.admitted[volume.pool].pop(volume.id, None)

    class WatchedMeter(UsageMeter):
        def add(self, host: str, tier: str, kind: str, volumes: int, *space: float) -> None:
            super().add(host, tier, kind, volumes, *space)
            if kind == "orphan":
                watch.orphans[host] += volumes

    class WatchedGlance(Glance):
        def __init__(self, clock: Any, spec: Any, images: Any, updated_at: Any, *args: Any) -> None:
            super().__init__(clock, spec, images, updated_at, *args)
            watch.glance, watch.first_version = self, updated_at

    return Parts(
        array=WatchedArray,
        caches={**CACHES, "lru": WatchedCache},
        database=WatchedDatabase,
        glance=WatchedGlance,
        manager=WatchedManager,
        meter=WatchedMeter,
        quotas=WatchedQuotas,
    )


def _then_look(operation: Any, watch: Watch) -> Any:
    @wraps(operation)
    def watched(array: Array, *args: Any) -> Any:
        result = operation(array, *args)
        watch.look()
        return result

    return watched


def watched_run(case: Case, strategy: str) -> tuple[Records, Watch]:
    """A run and the books kept on it, its tables checked too."""
    watch = Watch(case, strategy)
    records = engine.run(case, strategy, parts=watching(watch))
    watch.check(records)
    return records, watch
