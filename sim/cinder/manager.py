"""The cinder-volume service of one backend: Cinder's own manager, cache and API over the simulated parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from cinder import exception
from cinder.context import get_internal_tenant_context
from cinder.image import glance
from cinder.message import api as message_api
from cinder.volume import manager
from cinder.volume.flows.manager import create_volume
from taskflow.types.failure import Failure

from sim.cinder.addresses import cluster_of, host_on, scope
from sim.cinder.api import VolumeAPI
from sim.cinder.clock import Clock, current_process
from sim.cinder.database import Context, Database, Volume
from sim.cinder.driver import Driver
from sim.cinder.policies import ObservedCache, OfBackend
from sim.cinder.recorder import Recorder
from sim.cinder.turns import Turns
from sim.inputs.hosts import parts_of
from sim.inputs.nodes import Node
from sim.model.arrays import Array
from sim.model.repeats import repeats


class PlaceMaker:
    """The driver of the create task: at a volume limit, users' volumes come before the cache's.

    It evicts with Cinder's own `delete_cached_volume`, over an API that calls the services directly.
    """

    def __init__(self, array: Array, shared: Shared, driver: Driver) -> None:
        self._array = array
        self._db = shared.db
        self._driver = driver

        def delete_volume(context: Context, volume: Volume, *args: Any, **options: Any) -> None:
            """On the node that made the volume; then the create goes on, on its own."""
            process, service = current_process(), shared.service_of(volume)
            before, process.node = process.node, service.node_name
            try:
                service.delete_volume(context, volume, *args, **options)
            finally:
                process.node = before

        called = SimpleNamespace(delete_volume=delete_volume)
        self._cache = ObservedCache(self._db, VolumeAPI(self._db, called))

    def create_volume(self, volume: Volume) -> None:
        self._place(volume, "", self._driver.create_volume, volume)

    def create_cloned_volume(self, volume: Volume, source: Volume) -> None:
        self._place(volume, source.id, self._driver.create_cloned_volume, volume, source)

    def clone_image(self, context: Context, volume: Volume, *image: Any) -> Any:
        return self._place(volume, "", self._driver.clone_image, context, volume, *image)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def _place(self, volume: Volume, source_id: str, step: Callable[..., Any], *args: Any) -> Any:
        while True:
            try:
                return step(*args)
            except exception.VolumeBackendAPIException as error:
                hosts = error.kwargs.get("full")
                if not hosts or volume.display_name or not self._evict(hosts, source_id):
                    raise

    def _evict(self, hosts: Sequence[str], source_id: str) -> bool:
        """Evict an entry of these hosts; return whether its image-volume is gone."""
        context = get_internal_tenant_context()
        spec = self._array.spec
        scopes = [scope(host, spec) for host in hosts]
        entries = OfBackend(scopes, self._db).image_volume_cache_get_all(context)
        entry = next((each for each in reversed(entries) if each["volume_id"] != source_id), None)
        if entry is None:
            return False
        current_process().phase = "place"
        try:
            if hasattr(self._cache, "delete_cached_volume"):
                self._cache.delete_cached_volume(context, entry, "Deleting image-volume for a volume's place")
            else:  # until Cinder 26
                self._cache._delete_image_volume(context, entry)
        finally:
            current_process().phase = ""
        return entry["volume_id"] not in self._db.volumes


@dataclass(frozen=True)
class Shared:
    """Objects that all services of a cloud share.

    `ended` is called after every create; `service_of` is the service that takes a volume's messages. `nodes`
    are the limits of nodes. Without `reports` nobody hears those of backends.
    """

    clock: Clock
    db: Database
    scheduler_rpcapi: Any
    recorder: Recorder
    ended: Callable[[Volume], None]
    service_of: Callable[[Volume], VolumeManager]
    nodes: Mapping[str, Node]
    reports: bool


@dataclass(frozen=True)
class Changes:
    """A scenario's changes to Cinder's service; the defaults are Cinder's own.

    `task` makes the task that creates volumes, `fill` is its `_create_image_cache_volume_entry`, `twin` keeps
    a clone of uploaded volumes (None: Cinder does not); `makes_place`: the cache gives way to users (see
    `PlaceMaker`).
    """

    task: Callable[..., create_volume.CreateVolumeFromSpecTask] = create_volume.CreateVolumeFromSpecTask
    fill: Callable[..., None] = manager.VolumeManager._create_image_cache_volume_entry
    twin: Callable[..., None] | None = None
    makes_place: bool = False


class VolumeManager(manager.VolumeManager):  # type: ignore[misc]
    """Cinder's volume manager for one backend, on its node of position `node`.

    Two parts are new: `create_volume` runs the tasks of Cinder's create flow one after another, without
    taskflow's engine (most of a create's cost); and reports are sent in another way. Without an
    `image_volume_cache` the manager fills none.
    """

    def __init__(
        self,
        array: Array,
        driver: Driver,
        image_volume_cache: ObservedCache | None,
        shared: Shared,
        changes: Changes,
        node: int = 0,
    ) -> None:
        # The parent's __init__ is not called: it loads the driver from the configuration and connects to the
        # bus.
        self.host = host_on(node, array.name, array.spec)
        self.cluster = cluster_of(array.name, array.spec)
        self.node = node
        self.db = db = shared.db
        self.driver = driver
        self.stats: dict[str, Any] = {"pools": {}}
        self.node_name = array.spec.node_names[node]
        limits = shared.nodes.get(self.node_name, Node())
        self.threads = Turns(shared.clock, limits.executor_thread_pool_size)  # one for each message
        self.scheduler_rpcapi = shared.scheduler_rpcapi
        self.array = array
        self._pools = [(parts_of(host)[1], pool) for host, pool in array.pools.items()]
        self.reported_at: datetime | None = None
        self._reports = shared.reports
        self.image_volume_cache = image_volume_cache
        self.message_api = message_api.API()
        self._clock = shared.clock
        self._ended = shared.ended
        self._twin = changes.twin
        self._recorder = shared.recorder
        self._extract = create_volume.ExtractVolumeSpecTask(db)
        self._fill = changes.fill
        places = PlaceMaker(array, shared, driver) if changes.makes_place else driver
        self._create = changes.task(self, db, places, self.image_volume_cache)
        self._finish = create_volume.CreateVolumeOnFinishTask(db, "create.end")
        self._on_failure = create_volume.OnFailureRescheduleTask(None, db, self, self.scheduler_rpcapi, None)

    @repeats("cinder.volume.manager:VolumeManager", "create_volume")
    @repeats("cinder.volume.flows.manager.create_volume", "get_flow")
    def create_volume(
        self,
        context: Context,
        volume: Volume,
        request_spec: dict[str, Any] | None = None,
        filter_properties: dict[str, Any] | None = None,
        allow_reschedule: bool = True,
    ) -> str:
        """`VolumeManager.create_volume`: the tasks of `create_volume.get_flow`, in order."""
        process = current_process()
        process.node, volume.node = self.node_name, self.node
        self._set_resource_host(volume)
        request_spec, filter_properties = request_spec or {}, filter_properties or {}
        self._update_allocated_capacity(volume)
        original_host = volume.host
        admin = context.elevated()
        try:
            volume_spec = self._extract.execute(admin, volume, request_spec)
            volume_spec = self._create.execute(admin, volume, volume_spec)
            self._finish.execute(admin, volume, volume_spec)
        except Exception as error:
            if process.request.volume_id == volume.id:
                process.request.error = f"{type(error).__name__}: {error}"
            # One task for all failures, for to make one costs more than to run it. It reads both at once.
            self._on_failure.reschedule_context = context
            self._on_failure.do_reschedule = (
                allow_reschedule and request_spec and filter_properties.get("retry")
            )
            rescheduled = self._on_failure.revert(
                context=admin,
                result=None,
                flow_failures={"create": Failure()},
                volume=volume,
                request_spec=request_spec,
                filter_properties=filter_properties,
            )
            if rescheduled:
                self._update_allocated_capacity(volume, decrement=True, host=original_host)
            else:
                self._ended(volume)
            raise
        self._ended(volume)
        volume_id: str = volume.id
        return volume_id

    def copy_volume_to_image(self, context: Context, volume_id: str, image_meta: dict[str, Any]) -> None:
        """Cinder's own; then keep a clone of the volume, if this is simulated."""
        current_process().request.makes = "store"
        super().copy_volume_to_image(context, volume_id, image_meta)
        if self._twin is not None:
            service, _ = glance.get_remote_image_service(context, image_meta["id"])
            volume = self.db.volumes[volume_id]
            volume.status = "uploading"  # as when a no-op's clone is made: before the volume is given back
            with suppress(exception.CinderException):
                self._twin(self, context, volume, service, image_meta)
            self.db.volume_update_status_based_on_attachment(context, volume_id)

    def _create_image_cache_volume_entry(
        self, ctx: Context, volume_ref: Volume, image_id: str, image_meta: dict[str, Any]
    ) -> None:
        """Cinder's own; records the result, whatever it is."""
        request = current_process().request
        request.fill_error = ""
        self._fill(self, ctx, volume_ref, image_id, image_meta)
        if request.fill_error:
            self._recorder.not_filled(volume_ref, image_id, request.fill_error)

    @repeats("cinder.volume.manager:VolumeManager", "publish_service_capabilities")
    def publish_service_capabilities(self, context: Context | None) -> None:
        """Record the current report; the scheduler gets the newest one before its next decision.

        The scheduler only uses the last report of a backend, so earlier ones need not be made.
        """
        self.reported_at = self._clock.utcnow()
        if not self._reports:
            return
        counted = self.stats["pools"]
        self._levels = [
            (
                pool.physical_gib,
                pool.provisioned_gib,
                counted[name]["allocated_capacity_gb"] if name in counted else 0,
            )
            for name, pool in self._pools
        ]

    @repeats("cinder.volume.manager:VolumeManager", "_append_volume_stats")
    def pool_stats(self) -> list[dict[str, Any]]:
        """The last report's pools, as from a driver's `get_volume_stats` and `_append_volume_stats`."""
        spec = self.array.spec
        functions = {"filter_function": spec.filter_function, "goodness_function": spec.goodness_function}
        functions = {key: function for key, function in functions.items() if function is not None}
        stats = []
        for (name, pool), (physical, provisioned, allocated) in zip(
            spec.pools.items(), self._levels, strict=True
        ):
            total: float | str = "infinite" if pool.capacity_gib is None else pool.capacity_gib
            stats.append(
                {
                    "pool_name": name,
                    "total_capacity_gb": total,
                    "free_capacity_gb": total if isinstance(total, str) else total - physical,
                    "provisioned_capacity_gb": provisioned,
                    "allocated_capacity_gb": allocated,
                    "thin_provisioning_support": spec.thin,
                    "thick_provisioning_support": not spec.thin,
                    "max_over_subscription_ratio": spec.max_over_subscription_ratio,
                    "reserved_percentage": spec.reserved_percentage,
                    **functions,
                }
            )
        return stats
