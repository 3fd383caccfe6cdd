"""Engine `cinder`: runs a workload through Cinder's own code, over simulated arrays, in simulated time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any

from cinder import exception

from sim.cinder import standins
from sim.cinder.addresses import address
from sim.cinder.api import Actions, Checked, CreateRequest, VolumeAPI
from sim.cinder.clock import NOW, REPORT, TRACE, Clock, current_process
from sim.cinder.database import INTERNAL_PROJECT, INTERNAL_USER, STORE_PROJECT, Context, Entry, Volume
from sim.cinder.directories import Directories
from sim.cinder.glance import owner_of
from sim.cinder.manager import Changes, Shared, VolumeManager
from sim.cinder.ondemand import OnDemand
from sim.cinder.parts import PARTS, Parts
from sim.cinder.policies import ObservedCache, Uses
from sim.cinder.recorder import Request
from sim.cinder.rpc import SchedulerRPC, VolumeRPC
from sim.cinder.scheduler import Clones, Scheduler, request_spec_of
from sim.cinder.services import Services
from sim.cinder.snapshots import Snapshots
from sim.cinder.storing import keep, store_image
from sim.cinder.trace_rows import rows_of
from sim.cinder.uploads import UPLOAD_ERRORS, MarkedLocations, Upload, twin
from sim.cinder.what_if import create_task, fill
from sim.inputs.quotas import PROJECT
from sim.inputs.scenario import Case
from sim.inputs.strategies import STRATEGIES, Strategy
from sim.model.initial import Placed, place
from sim.model.links import links_of
from sim.model.prefetch import with_prefetches
from sim.model.records import Records
from sim.model.usage import instants

EPOCH = datetime(2000, 1, 1)  # the time at which a trace without dates starts
PROGRESS_EVERY = 256


def run(
    case: Case,
    strategy: str,
    progress: Callable[[int], None] | None = None,
    cinder_log: bool = False,
    parts: Parts = PARTS,
) -> Records:
    """Run one strategy on a case and return its tables.

    `progress` is called with the number of trace events that have happened. With `cinder_log`, Cinder's log
    goes where Python's logging sends it. The run is built from the classes in `parts`. Raises `BadInput` if
    the initial state does not fit.
    """
    return played(Simulation(with_prefetches(case), STRATEGIES[strategy], progress, parts), cinder_log)


def played(simulation: Simulation, cinder_log: bool = False) -> Records:
    """Let a simulation run to its end and return its tables."""
    case = simulation.case
    with standins.installed(
        case,
        simulation.strategy,
        simulation.clock,
        simulation.db,
        simulation.quotas,
        simulation.glance,
        simulation.volume_rpcapi,
        cinder_log,
    ):
        since = time.perf_counter()
        simulation.run()
        engine_s = time.perf_counter() - since
    times = case.trace.events["time"]
    return simulation.records(float(times.iloc[-1]), engine_s)


class Simulation:
    """One run: builds the simulated parts and the services, plays the trace."""

    def __init__(
        self,
        case: Case,
        strategy: Strategy,
        progress: Callable[[int], None] | None = None,
        parts: Parts = PARTS,
    ) -> None:
        scenario, events = case.scenario, case.trace.events
        start = case.trace.start.replace(tzinfo=None) if case.trace.start else EPOCH
        self.strategy = strategy
        self.clock = Clock(start)
        self.volume_rpcapi = VolumeRPC(self.clock)
        self.recorder = parts.recorder(events, self.clock, scenario.queues)
        self.db = parts.database(self.clock, self._entry_event)
        self.db.extra_specs = {name: tier.extra_specs for name, tier in scenario.tiers.items()}
        self.quotas = parts.quotas(scenario.cinder, scenario.tiers)
        self.store_project = INTERNAL_PROJECT if scenario.cinder.internal_tenant_owns_store else STORE_PROJECT
        # A version from before the start, so that every update of an image changes it.
        version = start - timedelta(days=1)
        self._transfers = parts.transfers(self.clock, links_of(scenario))
        images = case.images, version, case.uploaded, self.db.volumes, partial(keep, self), self._transfers
        one_at_a_time = frozenset(name for name, tier in scenario.tiers.items() if not tier.multiattach)
        times = instants(float(events["time"].iloc[-1]))
        directories = Directories(self.clock, scenario, times)
        self.glance = parts.glance(self.clock, scenario.glance, *images, one_at_a_time, directories)
        self.meter = parts.meter(partial(NOW, self.clock), scenario.pools(), scenario.tiers, times)
        self.arrays, self._placed = place(case, strategy, self.meter, version, array=parts.array)
        self.case = case
        self._parts = parts
        self._scenario = scenario
        self._start = start
        self._progress = progress
        self._events = events
        self.addresses = {host: address(host, scenario.backend_at(host)) for host in scenario.pools()}
        self.addresses[""] = {}  # where the scheduler chooses
        self._happened = 0
        self._schedules = case.schedules
        self._live: dict[str, Request] = {}  # creates in progress, by volume
        self._uploads: dict[str, Upload] = {}  # uploads in progress, by volume
        self._awaited: dict[str, Upload] = {}  # uploads whose volumes do not exist yet, by image

    def run(self) -> None:
        """Start the services, play the trace and wait until everything has ended."""
        self._start_services()
        for volume in self._placed:
            self._exists(volume)
        if self._schedules:
            clones = Clones(self._services, self.glance, self.db, self.strategy)
            self._scheduler = Scheduler(self._services, clones, self._scenario)
        self._rows = rows_of(self._events)
        self._next()
        if self._schedules:
            self.clock.at(0, lambda _: self._report(0), REPORT)
        try:
            self.clock.run()
        finally:
            self.clock.close()
        if self._live:
            raise RuntimeError(f"creates never ended: {sorted(self._live)[:5]}")

    def records(self, until: float, engine_s: float) -> Records:
        """The tables of a finished run; `until` is the time at which the trace ended."""
        entries, arrays = self.db.entries(), self.arrays.values()
        placed = {volume.volume_id for volume in self._placed}
        measured = self.meter, self.glance.directories, self._transfers
        return self.recorder.records(entries, arrays, placed, *measured, until, engine_s)

    def _cache_on(self, host: str) -> ObservedCache | None:
        """The cache of a pool's backend (backend#pool), which all its nodes have in common."""
        return self._services.at(host)[0].image_volume_cache

    def _schedule(
        self,
        request: Request,
        context: Context,
        volume: Volume,
        request_spec: dict[str, Any],
        filter_properties: dict[str, Any],
    ) -> None:
        """Have the scheduler place a volume; if it finds no pool, the create is over."""
        current_process().request = request
        try:
            self._scheduler.create_volume(context, volume, request_spec, filter_properties)
        except (ZeroDivisionError, ValueError, IndexError) as error:
            # CapacityFilter divides by the free space of a thin pool beside its reserve. If it stacks,
            # CapacityWeigher looks for the largest finite capacity, and there may be none. IndexError: see
            # `called_by_name`. The task has put the volume into error; the service would log the rest.
            request.error = f"{type(error).__name__}: {error}"
            self._ended(volume)
            return
        if volume.status == "error" and volume.id in self._live:
            last = request.error or "no pool of the volume type passes the scheduler's filters"
            request.error = f"NoValidBackend: {last}"
            self._ended(volume)

    # -- the services and the initial state -----------------------------------------------------

    def _start_services(self) -> None:
        scheduler_rpc = SchedulerRPC(
            self.clock,
            self.volume_rpcapi,
            self._schedule,
            lambda *asked: self._scheduler.extend_volume(*asked),
        )
        self._volume_api = VolumeAPI(self.db, self.volume_rpcapi, scheduler_rpc)
        self._actions = Actions(self._volume_api)
        self._api_task = CreateRequest(None, set(self._scenario.zones()))
        self._snapshots = Snapshots(self.clock, self.db, self._volume_api, self._free)
        what_if = self._scenario.what_if
        caches = self.strategy.image_volume_cache_enabled
        patches: list[type] = [OnDemand] if self.strategy.on_demand else []
        if self._scenario.upload == "raw-twin-location":
            patches.append(MarkedLocations)
        changes = Changes(create_task(what_if, *patches), fill(what_if), twin(self._scenario))
        shared = Shared(
            self.clock,
            self.db,
            scheduler_rpc,
            self.recorder,
            self._ended,
            lambda volume: self._services.of(volume),
            self._scenario.nodes,
            self._schedules,
        )
        by_backend: dict[str, list[VolumeManager]] = {}
        for_caches = self.strategy, what_if, self.db, self._volume_api, self.glance, self._next_use
        given = self.glance.catalogue, self.meter, self._scenario, self._transfers, self.glance.directories
        for name, array in self.arrays.items():
            driver = self._parts.driver(self.clock, array, *given)
            makes_place = what_if.evict_for_users and array.spec.image_volume_cache_enabled and caches
            changed, cache = replace(changes, makes_place=makes_place), self._parts.cache(array, *for_caches)
            by_backend[name] = [
                self._parts.manager(array, driver, cache, shared, changed, node)
                for node in range(len(array.spec.node_names))
            ]
        self._services: Services = Services(by_backend)
        self.volume_rpcapi.services = self._services

    @cached_property
    def _uses(self) -> Uses:
        return Uses(self._events, self._scenario)

    def _next_use(self, host: str, image_id: str) -> int:
        return self._uses.after(self._happened, host, image_id)

    def _exists(self, placed: Placed) -> None:
        """Add a volume that exists at time 0 to the database, the cache and Glance's locations."""
        image, volume = placed.image, self.enter(placed, self._services.at(placed.host))
        self.quotas.count(volume.project_id, volume.size, volume.volume_type_id)
        if placed.kind == "store" and image is not None:
            owner = image.image_owner or owner_of(image)
            self.glance.add_location(image.image_id, volume, owner, first=True)
        elif placed.kind == "cache" and image is not None:
            version = self.glance.images[image.image_id].updated_at
            last_used = self._start + timedelta(seconds=placed.last_used)
            where = volume.host, volume.cluster_name
            entry = self.db.add_entry(*where, image.image_id, version, volume.id, placed.size_gib, last_used)
            cache = self._cache_on(placed.host)
            if cache is not None:
                cache.entry_made(entry)

    def enter(self, placed: Placed, services: Sequence[VolumeManager]) -> Volume:
        """Add a volume that is on its array already to the database; these services count it."""
        projects = {"user": placed.project or PROJECT, "cache": INTERNAL_PROJECT}
        volume = Volume(
            self.db,
            id=placed.volume_id,
            size=placed.size_gib,
            **self.addresses[placed.host],
            status="available",
            project_id=projects.get(placed.kind, self.store_project),
            user_id=INTERNAL_USER,
            volume_type_id=placed.tier,
        )
        self.db.volumes[volume.id] = volume
        for service in services:
            service._update_allocated_capacity(volume)
        return volume

    def first_service(self, host: str) -> Sequence[VolumeManager]:
        """The first service of a pool's backend, which counts what Glance puts there."""
        return self._services.at(host)[:1]

    def _report(self, index: int) -> None:
        """Let every service report to the scheduler, as long as other events are to come.

        Nothing changes until the next event, and the scheduler sees only the last report before it.
        """
        for service in self._services:
            service.publish_service_capabilities(None)
        upcoming = self.clock.peek()
        if upcoming < math.inf:
            interval = self._scenario.cinder.backend_stats_polling_interval
            following = max(index + 1, math.floor(upcoming / interval))
            self.clock.at(following * interval, lambda _: self._report(following), REPORT)

    # -- the trace -------------------------------------------------------------------------------

    def _next(self) -> None:
        """Put the trace's next event on the clock (one at a time, because the trace may be long)."""
        row = next(self._rows, None)
        if row is not None:
            self.clock.at(row[0], lambda _: self._happen(*row), TRACE)

    def _happen(
        self, _: float, event: str, volume_id: str, snapshot_id: str, image_id: str, *create: Any
    ) -> None:
        self._happened += 1
        if event == "create":
            request = self.recorder.request(volume_id)
            self.clock.start(self._create, request, image_id, *create)
        elif event == "prefetch":
            if self._wanted(image_id, host=create[2]):
                self.clock.start(self._create, Request(volume_id, None), image_id, *create)
        elif event == "delete":
            self._user_deletes(volume_id)
        elif event == "update_image":
            self.glance.update(image_id)
        elif event == "upload":
            self._user_uploads(volume_id, image_id)
        elif event == "store_image":
            self.clock.start(store_image, self, image_id, *create)
        elif event == "snapshot":
            self.clock.start(self._snapshots.take, volume_id, snapshot_id)
        elif event == "delete_snapshot":
            self.clock.start(self._snapshots.drop, snapshot_id)
        elif event == "delete_image":
            if image_id in self._awaited:
                self._awaited[image_id].image_wanted = False
            for volume in self.glance.delete(image_id):
                self.clock.start(self.delete, volume)
        if self._progress and self._happened % PROGRESS_EVERY == 0:
            self._progress(self._happened)
        self._next()

    def _wanted(self, image_id: str, host: str) -> bool:
        """Whether a pool's cache would keep an image."""
        image, cache = self.glance.catalogue[image_id], self._cache_on(host)
        return cache is not None and cache.keeps(image)

    def _create(
        self,
        request: Request,
        image_id: str,
        size_gib: int,
        volume_type: str,
        host: str,
        project: str,
        encrypted: bool,
        first_host: str,
        availability_zone: str,
    ) -> None:
        """A create: the API's checks, then the scheduler, or the backend of its host.

        `first_host`: the host of the first attempt ('': the scheduler chooses).
        """
        current_process().request, volume_id = request, request.volume_id
        context = Context("user", project or PROJECT)
        try:
            zones, image_meta = self.checked(context, image_id, size_gib, availability_zone)
            self.quotas.take(context, size_gib, volume_type)
        except exception.CinderException as error:
            request.error = f"{type(error).__name__}: {error}"
            self.recorder.ended(request, None)
            return
        volume = Volume(
            self.db,
            id=volume_id,
            size=size_gib,
            **self.addresses[host],
            project_id=context.project_id,
            user_id=context.user_id,
            volume_type_id=volume_type,
            encryption_key_id=self._api_task.key(context, volume_type, image_meta) if encrypted else None,
        )
        self.begin(request, context, volume, image_id, first_host, zones)

    def begin(
        self,
        request: Request,
        context: Context,
        volume: Volume,
        image_id: str,
        first_host: str,
        zones: list[str],
    ) -> None:
        """Have a new volume made: by the backend of its host, or else where the scheduler places it."""
        self.db.volumes[volume.id] = volume
        self._live[volume.id] = request
        request_spec = request_spec_of(volume, image_id, zones)
        if volume.host:
            self.volume_rpcapi.create_volume(context, volume, request_spec, {}, allow_reschedule=False)
        else:
            request_spec["first_host"] = first_host
            self._schedule(request, context, volume, request_spec, {})

    def checked(self, context: Context, image_id: str, size_gib: int, availability_zone: str) -> Checked:
        """What the API checks of a create."""
        return self._api_task.checked(context, self.glance.service(), image_id, size_gib, availability_zone)

    def _ended(self, volume: Volume) -> None:
        """A create is over (of an image-volume, too, which is not a request)."""
        request = self._live.pop(volume.id, None)
        if request is not None:
            self.recorder.ended(request, volume)
            upload = request.upload
            if request.then is not None:
                self.clock.cast(request.then, volume)
            elif upload is not None:
                upload.delete_wanted = request.delete_wanted
                self._uploads[volume.id] = upload
                self.clock.cast(self._upload, upload)
            elif request.delete_wanted:
                self.clock.cast(self._user_deletes_now, volume)

    def _user_uploads(self, volume_id: str, image_id: str) -> None:
        """Start an upload once its volume exists; refuse it while another of this volume waits or runs."""
        upload = self.recorder.upload(volume_id, image_id)
        request = self._live.get(volume_id)
        if request is not None and request.upload is None:
            request.upload = self._awaited[image_id] = upload
            return
        self._uploads.setdefault(volume_id, upload)
        self.clock.start(self._upload, upload)

    def _upload(self, upload: Upload) -> None:
        """Make an image from a volume: the REST API's `os-volume_upload_image`."""
        current_process().request = Request("", None)
        self._awaited.pop(upload.image_id, None)
        volume = self.db.volumes.get(upload.volume_id)
        try:
            if volume is None:
                raise exception.VolumeNotFound(volume_id=upload.volume_id)
            self._volume_api.image_service = self.glance.service(upload.image_id)
            context = Context(volume.user_id, volume.project_id)
            self._actions.upload(context, volume.id, self.glance.catalogue[upload.image_id])
        except UPLOAD_ERRORS as error:
            upload.error = type(error).__name__
        self.recorder.upload_ended(upload, volume)
        if self._uploads.get(upload.volume_id) is not upload:
            return  # refused, because another is in progress
        del self._uploads[upload.volume_id]
        for location in self.glance.uploaded(upload.image_id, upload.image_wanted):
            self.delete(location)
        if upload.delete_wanted and volume is not None:
            self.clock.cast(self._user_deletes_now, volume)

    def _user_deletes(self, volume_id: str) -> None:
        under_way = self._live.get(volume_id) or self._uploads.get(volume_id)
        if under_way:
            under_way.delete_wanted = True
        elif volume_id in self.db.volumes:  # else the API refused the volume's create
            self.clock.start(self._user_deletes_now, self.db.volumes[volume_id])

    def _user_deletes_now(self, volume: Volume) -> None:
        """Delete a user's volume, unless it has snapshots, when the steps of these have ended."""
        if self._snapshots.delay(volume):
            return
        try:
            self.delete(volume)
        except exception.InvalidVolume:
            return  # it has snapshots

    def _free(self, volume_id: str) -> None:
        """The steps of its snapshots have ended: delete a volume, now or when its upload is over."""
        upload = self._uploads.get(volume_id)
        if upload is not None:
            upload.delete_wanted = True
        else:
            self.clock.cast(self._user_deletes_now, self.db.volumes[volume_id])

    def delete(self, volume: Volume) -> None:
        self._volume_api.delete(Context(volume.user_id, volume.project_id), volume)

    def extend(self, volume: Volume, size_gib: int) -> None:
        self._volume_api.extend(Context(volume.user_id, volume.project_id), volume, size_gib)

    def _entry_event(self, event: str, entry: Entry) -> None:
        cache = self._cache_on(entry["pool"])
        if event == "use":
            if cache is not None:
                cache.looked_up(entry)
            return
        self.recorder.entry_event(event, entry)
        if cache is not None:
            (cache.entry_made if event == "create" else cache.entry_gone)(entry)
        volume = self.db.volumes.get(entry["volume_id"])
        if event == "delete" and volume and volume.status != "deleting":
            # Cinder before 27 drops an entry at the clone limit and leaves its image-volume behind.
            self.meter.add(volume.pool, volume.volume_type_id, "orphan", 1, 0, 0)
