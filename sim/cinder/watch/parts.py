"""Runs that are watched: subclasses of the engine's classes do the same as these, and then look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from sim.cinder import engine
from sim.cinder.clock import current_process
from sim.cinder.database import Database
from sim.cinder.glance import Glance
from sim.cinder.manager import VolumeManager
from sim.cinder.parts import Parts
from sim.cinder.policies import CACHES, ObservedCache
from sim.cinder.quotas import Quotas
from sim.cinder.watch.books import Watch
from sim.cinder.watch.tables import check
from sim.inputs.scenario import Case
from sim.model.arrays import Array
from sim.model.records import Records
from sim.model.usage import UsageMeter


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
        setattr(WatchedArray, name, then_look(getattr(Array, name), watch))

    class WatchedDatabase(Database):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            watch.clock, watch.db = args[0], self

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
            self, context: Any, image_id: str, host: str | None = None, cluster_name: str | None = None
        ) -> Any:
            entry = super().image_volume_cache_get_and_update_last_used(context, image_id, host, cluster_name)
            asked = {"host": host, "cluster_name": cluster_name}
            watch.found(entry, image_id, {key: value for key, value in asked.items() if value is not None})
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


def then_look(operation: Any, watch: Watch) -> Any:
    @wraps(operation)
    def watched(array: Array, *args: Any) -> Any:
        result = operation(array, *args)
        watch.look()
        return result

    return watched


def watched_run(
    case: Case, strategy: str, progress: Callable[[int], None] | None = None, *, cinder_log: bool = False
) -> tuple[Records, Watch]:
    """`sim.cinder.engine.run` and the books kept on it, its tables checked too."""
    watch = Watch(case, strategy)
    records = engine.run(case, strategy, progress, cinder_log=cinder_log, parts=watching(watch))
    check(watch, records)
    return records, watch


def run(
    case: Case, strategy: str, progress: Callable[[int], None] | None = None, *, cinder_log: bool = False
) -> Records:
    """`sim.cinder.engine.run`, watched: `Records.broken` tells what does not hold."""
    records, watch = watched_run(case, strategy, progress, cinder_log=cinder_log)
    return replace(records, broken=watch.lines())
