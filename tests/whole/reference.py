"""The whole of Cinder under simulated time: what `sim.cinder` is checked against.

Real here: `VolumeManager` with its flows, the volume API, the image-volume cache, the scheduler
manager with `FilterScheduler` and `HostManager`, objects, quotas, policies, and the database as
Cinder's migrations make it. Simulated: see `cloud`.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import greenlet
import pandas as pd
import webob
from castellan import key_manager
from castellan.common.exception import CastellanException
from cinder import exception, objects
from cinder.api import microversions
from cinder.api.contrib.volume_actions import VolumeActionsController
from cinder.api.openstack import wsgi
from cinder.objects import fields
from cinder.scheduler.weights import WeighedHost
from cinder.volume import api as volume_api
from cinder.volume import volume_types
from cinder.volume.flows.api import create_volume as api_flow
from glanceclient.exc import HTTPInternalServerError, HTTPOverLimit
from oslo_concurrency.processutils import ProcessExecutionError
from oslo_config import cfg

from sim.cinder.release import db_api

from . import simtime
from .attaching import attached
from .cloud import INTERNAL_PROJECT, GlanceImage, ImageService, image_uuid, volume_in
from .process import admin, simulated, user
from .records import Request, Upload
from .storing import Storing

REQUESTS = [
    *("volume_id", "image_id", "volume_type", "host", "size_gib", "time", "end"),
    *("source", "status", "error", "attempts"),
]
CACHE = ["host", "image_id", "size_gib", "last_used"]
UPLOAD_ERRORS = exception.CinderException, HTTPInternalServerError, HTTPOverLimit, ProcessExecutionError
UPLOADS = ["volume_id", "image_id", "host", "time", "end", "status", "error"]


@dataclass(frozen=True)
class Result:
    """`requests`, `others` and `cache` as the contract has them; `orphans` (host, image_id, size_gib).

    `uploads`: a row for each, in the order of the trace; `error` is the name of an exception's class.
    """

    requests: pd.DataFrame
    others: pd.DataFrame
    cache: pd.DataFrame
    orphans: pd.DataFrame
    uploads: pd.DataFrame


def run_whole(case: Any, strategy: str) -> Result:
    """Run a `sim.inputs.scenario.Case` with one of the four plain strategies."""
    return Run(case, strategy).execute()


class Run(Storing):
    """One run; everything Cinder knows is in the database, the rest is here."""

    def __init__(self, case: Any, strategy: str, database: str | None = None) -> None:
        super().__init__(case, strategy)
        self.database = database
        self.requests: list[Request] = []
        self.by_uuid: dict[str, Request] = {}
        self.by_name: dict[str, Request] = {}
        self.uploads: dict[str, Upload] = {}  # by the uuid of the image
        self.snapshots: dict[str, str] = {}  # uuids by name
        self.steps: dict[str, Any] = {}  # the end of the last step of each snapshot, by its uuid
        self.drops: list[tuple[str, Any]] = []  # volumes and ends of deletes of snapshots, as they are asked

    def execute(self) -> Result:
        if cfg.CONF._namespace is None:
            cfg.CONF([], project="cinder", default_config_files=[], default_config_dirs=[])
        with simulated(self, self.options(), self.database):
            return self._play()

    def _play(self) -> Result:
        self.build()
        self._schedule_trace()
        self.time.env.run()
        return self._result()

    # The trace

    def _schedule_trace(self) -> None:
        on: dict[str, Callable[[Any], None]] = {
            "create": self._on_create,
            "delete": lambda e: self.time.spawn(lambda: self._delete(e)),
            "update_image": self._on_update_image,
            "delete_image": self._on_delete_image,
            "upload": self._on_upload,
            "snapshot": lambda e: self.time.spawn(lambda: self._snapshot(e)),
            "delete_snapshot": lambda e: self.time.spawn(lambda: self._drop(e)),
            "store_image": lambda e: self.time.spawn(lambda: self._store(e)),
        }
        for event in self.case.trace.events.itertuples():
            call = on[event.event]
            self.time.at(event.time, simtime.TRACE, lambda call=call, e=event: call(e))
        creates = self.case.trace.events.query("event in ('create', 'store_image')")
        if (creates.host == "").any() or self.scenario.asks:
            self._schedule_reports(1)

    def _schedule_reports(self, number: int) -> None:
        interval = self.scenario.cinder.backend_stats_polling_interval

        def report() -> None:
            if not self.time.pending:
                return
            for service in itertools.chain(*self.services.values()):
                service.manager.publish_service_capabilities(admin())
            self._schedule_reports(number + 1)

        self.time.at(interval * number, simtime.REPORTS, report)

    def _on_create(self, event: Any) -> None:
        request = Request(event, self.time.env.event())
        self.by_name[event.volume_id] = request
        self.requests.append(request)
        self.time.spawn(lambda: self._create(request))

    def _on_update_image(self, event: Any) -> None:
        self.save(self.all_images[image_uuid(event.image_id)])

    def save(self, image: GlanceImage) -> None:
        image.updated_at = self.clock.pop().replace(tzinfo=datetime.UTC)
        image.version += 1

    def _on_delete_image(self, event: Any) -> None:
        uuid = image_uuid(event.image_id)

        def delete() -> None:
            if uuid in self.uploads:
                self.time.wait(self.uploads[uuid].done)
            image = self.glance.images.get(uuid)
            while image is not None and image.urls:
                with suppress(exception.VolumeNotFound):
                    volume = objects.Volume.get_by_id(admin(), volume_in(image.urls[0]))
                    try:
                        self.api.delete(admin(), volume)
                    except exception.InvalidVolume:  # it is attached: Glance stops here
                        return
                del image.urls[0]
            self.glance.images.pop(uuid, None)

        self.time.spawn(delete)

    def _on_upload(self, event: Any) -> None:
        request = self.by_name.get(event.volume_id)
        first = request is not None and not self._under_way(event.volume_id)
        upload = self.uploads[image_uuid(event.image_id)] = Upload(event, self.time.env.event())

        def ask() -> None:
            if first:  # else it is asked for, and refused, at once
                self.time.wait(request.done)
            self._upload(upload)

        self.time.spawn(ask)

    # Creates

    def _create(self, request: Request) -> None:
        event = request.event
        project = event.project or "project"
        context = user(project)
        image_id = image_uuid(event.image_id) if event.image_id else None
        types = self.encrypted_types if event.encrypted else self.types
        type_id = types[event.volume_type]
        task = self._api_task()
        try:
            image_meta = task._get_image_metadata(context, image_id, int(event.size_gib))
            zones, _ = task._extract_availability_zones(event.availability_zone or None, None, None, None)
            reserve = api_flow.QuotaReserveTask()
            reserved = reserve.execute(context, int(event.size_gib), type_id, None, {})
        except exception.CinderException as error:
            self._finish(request, error)
            return
        key_id = task._get_encryption_key_id(key_manager.API(), context, type_id, None, None, image_meta)
        properties = {
            "size": int(event.size_gib),
            "user_id": project,
            "project_id": project,
            "status": "creating",
            "attach_status": fields.VolumeAttachStatus.DETACHED,
            "encryption_key_id": key_id,
            "volume_type_id": type_id,
            "availability_zone": zones[0],
        }
        host = self._inside(event.host) if event.host else {}
        volume = objects.Volume(context=context, **properties, **host)
        volume.create()
        api_flow.QuotaCommitTask().execute(context, reserved["reservations"], properties, {})
        self.by_uuid[volume.id] = request
        self._cast(context, image_id, volume, properties, zones)

    def _api_task(self) -> Any:
        known = {zone["name"] for zone in self.api.list_availability_zones(enable_cache=True)}
        known.add(cfg.CONF.storage_availability_zone)  # as `volume.API.create` does
        return api_flow.ExtractVolumeRequestTask(ImageService(self.glance), known)

    def _cast(
        self,
        context: Any,
        image_id: str | None,
        volume: Any,
        properties: dict[str, Any],
        zones: list[str],
    ) -> None:
        """The API's cast to the scheduler."""
        api_flow.VolumeCastTask(_FirstCast(self), None, None).execute(
            context,
            image_id=image_id,
            volume=volume,
            volume_id=volume.id,
            volume_type=volume_types.get_volume_type(context, properties["volume_type_id"]),
            volume_properties=objects.VolumeProperties(**properties),
            availability_zones=zones,
            **dict.fromkeys(_NOT_GIVEN),
        )

    def schedule(self, context: Any, volume: Any, args: dict[str, Any]) -> None:
        """The scheduler's part of a create, then the volume manager's, in this greenlet."""
        here: Any = greenlet.getcurrent()
        here.placed = None
        request = self.by_uuid[volume.id]
        real = self.scheduler.driver.schedule_create_volume
        first = request.event.first_host if request.attempts == 0 else ""

        def noting_failure(*given: Any) -> None:
            try:
                with self._choosing(first) if first else nullcontext():
                    real(*given)
            except (exception.CinderException, ZeroDivisionError, ValueError, IndexError) as error:
                here.error = error
                raise

        self.scheduler.driver.schedule_create_volume = noting_failure
        try:
            with suppress(
                ZeroDivisionError, ValueError, IndexError, exception.NotFound
            ):  # the service would log it
                self.scheduler.create_volume(context, volume, **args)
        finally:
            del self.scheduler.driver.schedule_create_volume
        if here.placed:
            self.attempt(*here.placed)
        else:
            self._finish(request, here.error, volume.id)

    @contextmanager
    def _choosing(self, host: str) -> Iterator[None]:
        """Meanwhile the scheduler knows one pool, and has nothing to ask or to weigh."""
        hosts, inside = self.scheduler.driver.host_manager, self._inside(host)["host"]
        hosts.get_filtered_backends = lambda states, _: [each for each in states if each.host == inside]
        hosts.get_weighed_backends = lambda states, _: [WeighedHost(each, 0) for each in states]
        try:
            yield
        finally:
            del hosts.get_filtered_backends, hosts.get_weighed_backends

    def placed(self, *placed: Any) -> None:
        """The scheduler's cast to a volume manager: done when the scheduler is."""
        here: Any = greenlet.getcurrent()
        here.placed = placed

    def attempt(self, context: Any, volume: Any, args: dict[str, Any], again: bool) -> None:
        """One try on one backend; `again`: it may be rescheduled."""
        here: Any = greenlet.getcurrent()
        here.rescheduled = False
        service = self._on_node(self._next(volume))
        request = self.by_uuid[volume.id]
        request.attempts += 1
        error: Exception | None = None
        try:
            with service.threads.held():
                service.manager.create_volume(context, volume, allow_reschedule=again, **args)
        except (exception.CinderException, HTTPInternalServerError, FileNotFoundError) as raised:
            error = raised
        if not here.rescheduled:
            self._finish(request, error, volume.id)

    def cast_schedule(self, context: Any, volume: Any, args: dict[str, Any]) -> None:
        here: Any = greenlet.getcurrent()
        here.rescheduled = True
        self.time.cast(lambda: self.schedule(context, volume, args))

    def _finish(self, request: Request, error: Exception | None, volume_id: str | None = None) -> None:
        request.end = self.time.env.now
        if volume_id is not None:
            volume = objects.Volume.get_by_id(admin(), volume_id)
            request.status, request.host = volume.status, self._outside(volume.host)
        if error is not None:
            request.error = f"{type(error).__name__}: {error}"
        request.done.succeed()

    def made(self, volume: Any, source: str) -> None:
        """The driver made this volume; image-volumes of the cache are nobody's request."""
        if volume["id"] in self.by_uuid:
            self.by_uuid[volume["id"]].source = source

    def attached(self, uuid: str) -> Any:
        return attached(self, uuid)

    # Deletes

    def _delete(self, event: Any) -> None:
        under_way, snapshots = self._under_way(event.volume_id), self._steps_of(event.volume_id)
        if event.volume_id in self.by_name:
            self.time.wait(self.by_name[event.volume_id].done)
        for upload in under_way:
            self.time.wait(upload.done)
        for step in snapshots:
            self.time.wait(step)
        uuid, project = self._volume(event.volume_id)
        if uuid is not None:
            self._api_delete(user(project), uuid)

    def _under_way(self, volume: str) -> list[Upload]:
        """Uploads of a volume that have not ended, or not begun."""
        return [u for u in self.uploads.values() if u.event.volume_id == volume and not u.done.triggered]

    def _volume(self, name: str) -> tuple[str | None, str]:
        """The uuid, if it was made, and the project of a volume."""
        request = self.by_name.get(name)
        if request is None:
            return self.initial.get(name, (None, ""))
        uuid = next((u for u, r in self.by_uuid.items() if r is request), None)
        return uuid, request.event.project or "project"

    def _api_delete(self, context: Any, uuid: str) -> None:
        try:
            volume = objects.Volume.get_by_id(context, uuid)
            self.api.delete(context, volume)
        except (exception.VolumeNotFound, exception.InvalidVolume):
            return

    def cast_delete(self, context: Any, volume: Any) -> None:
        self.time.cast(lambda: self._manager_delete(context, volume))

    def _manager_delete(self, context: Any, volume: Any) -> None:
        service = self._on_node(self._at(volume))
        with service.threads.held():
            service.manager.delete_volume(context, volume)

    # Uploads

    def _upload(self, upload: Upload) -> None:
        """The REST API's action on a volume; it tells of an error of Cinder's in its own words."""
        image_id = upload.event.image_id
        spec = self.case.images[image_id]
        asked = {"image_name": image_id, "force": False}
        asked |= {"disk_format": spec.disk_format, "container_format": spec.container_format}
        uuid, project = self._volume(upload.event.volume_id)
        context = user(project)
        try:
            if uuid is None:
                raise exception.VolumeNotFound(volume_id=upload.event.volume_id)
            upload.host = self._outside(objects.Volume.get_by_id(admin(), uuid).host)
            actions = VolumeActionsController()
            actions.volume_api = volume_api.API(ImageService(self.glance, image_uuid(image_id)))
            asking = wsgi.Request.blank("/")
            asking.environ["cinder.context"] = context
            asking.api_version_request = microversions.get_api_version(microversions.BASE_VERSION)
            actions._volume_upload_image(asking, uuid, body={"os-volume_upload_image": asked})
        except webob.exc.HTTPBadRequest as error:
            self._uploaded(upload, error.__context__ or error)
        except (CastellanException, *UPLOAD_ERRORS) as error:
            self._uploaded(upload, error)

    def cast_upload(self, context: Any, volume: Any, image_meta: dict[str, Any]) -> None:
        self.time.cast(lambda: self._manager_upload(context, volume, image_meta))

    def _manager_upload(self, context: Any, volume: Any, image_meta: dict[str, Any]) -> None:
        failed: Exception | None = None
        try:
            service = self._on_node(self._at(volume))
            with service.threads.held():
                service.manager.copy_volume_to_image(context, volume.id, image_meta)
        except UPLOAD_ERRORS as error:
            failed = error
        self._uploaded(self.uploads[image_meta["id"]], failed)

    def _uploaded(self, upload: Upload, error: Exception | None) -> None:
        image = self.glance.images.get(image_uuid(upload.event.image_id))
        upload.end = self.time.env.now
        upload.status = image.status if image else "error"
        upload.error = type(error).__name__ if error else ""
        upload.done.succeed()

    # Snapshots

    def _snapshot(self, event: Any) -> None:
        uuid, project = self._volume(event.volume_id)
        if uuid is None:
            return
        context = user(project)
        with suppress(exception.InvalidVolume, exception.VolumeNotFound):
            volume = objects.Volume.get_by_id(context, uuid)
            made = self.api.create_snapshot(context, volume, event.snapshot_id, "")
            self.snapshots[event.snapshot_id] = made.id

    def _drop(self, event: Any) -> None:
        """The delete of a snapshot waits for its create."""
        uuid = self.snapshots.get(event.snapshot_id)
        if uuid is None:
            return
        over = self.time.env.event()
        self.drops.append((event.volume_id, over))
        self.time.wait(self.steps[uuid])
        context = user(self._volume(event.volume_id)[1])
        self.api.delete_snapshot(context, objects.Snapshot.get_by_id(context, uuid))
        self.time.wait(self.steps[uuid])
        over.succeed()

    def cast_snapshot(self, step: str, context: Any, volume: Any, uuid: str) -> None:
        over = self.steps[uuid] = self.time.env.event()

        def run() -> None:
            snapshot = objects.Snapshot.get_by_id(admin(), uuid)
            service = self._at(volume)
            with suppress(exception.CinderException), service.threads.held():
                getattr(service.manager, step)(context, snapshot)
            over.succeed()

        self.time.cast(run)

    def _steps_of(self, volume: str) -> list[Any]:
        """The ends of all steps of a volume's snapshots that are under way, or asked for."""
        uuid = self._volume(volume)[0]
        if uuid is None:
            return []
        found = objects.SnapshotList.get_all_for_volume(admin(), uuid)
        return [
            *(self.steps[snapshot.id] for snapshot in found),
            *(over for name, over in self.drops if name == volume),
        ]

    # What came of it

    def _result(self) -> Result:
        creates = pd.DataFrame([r.row() for r in self.requests], columns=REQUESTS)
        without = creates["image_id"] == ""
        requests, others = (creates[of].reset_index(drop=True) for of in (~without, without))
        with db_api.main_context_manager.reader.using(admin()) as session:
            entries = session.query(db_api.models.ImageVolumeCacheEntry).all()
            held = {entry.volume_id for entry in entries}
            rows = [
                [
                    self._outside(entry.host),
                    self.image_ids[entry.image_id],
                    entry.size,
                    (entry.last_used - self.start).total_seconds(),
                ]
                for entry in entries
            ]
        for image in self.glance.images.values():
            held |= {volume_in(url) for url in image.urls}
        volumes = objects.VolumeList.get_all(admin())
        orphans = [
            [self._outside(v.host), self.image_ids[v.display_name.removeprefix("image-")], v.size]
            for v in volumes
            if v.project_id == INTERNAL_PROJECT
            and (v.display_name or "").startswith("image-")
            and v.id not in held
        ]
        return Result(
            requests,
            others,
            pd.DataFrame(rows, columns=CACHE),
            pd.DataFrame(orphans, columns=CACHE[:3]),
            pd.DataFrame([u.row() for u in self.uploads.values()], columns=UPLOADS),
        )


_NOT_GIVEN = (
    "scheduler_hints",
    "snapshot_id",
    "source_volid",
    "consistencygroup_id",
    "cgsnapshot_id",
    "group_id",
    "backup_id",
)


class _FirstCast:
    """The scheduler's RPC API as the volume API sees it: a trace's create starts at once."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def create_volume(self, context: Any, volume: Any, request_spec: Any, **args: Any) -> None:
        args = {**args, "request_spec": request_spec}
        if volume.host is None:
            self.run.schedule(context, volume, args)
            return
        spec = {"request_spec": request_spec, "filter_properties": {}}
        self.run.attempt(context, volume, spec, False)
