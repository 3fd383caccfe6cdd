"""What Cinder stands on, simulated: the driver, Glance, the message bus, the database file.

Everything here only stands in for the outside world; whatever decides is Cinder's own code.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import functools
import logging
import math
import os
import shutil
import tempfile
import time as real_time
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock

import greenlet
from castellan import key_manager
from cinder import context as cinder_context
from cinder import coordination, exception, objects, rpc, utils
from cinder.backup import rpcapi as backup_rpcapi
from cinder.image import glance, image_utils
from cinder.scheduler import rpcapi as scheduler_rpcapi
from cinder.volume import driver as volume_driver
from cinder.volume import rpcapi as volume_rpcapi
from oslo_config import cfg
from oslo_db.sqlalchemy import enginefacade
from oslo_utils import timeutils

from . import simtime
from .arrays import GIB, Array

try:
    from cinder.db.sqlalchemy import api as db_api  # before 29
except ImportError:
    from cinder.db import api as db_api

MIB = 2**20
CONF = cfg.CONF
INTERNAL_PROJECT = "internal-tenant"
STORE_PROJECT = "glance"  # not the internal tenant, or the store would take the cache's quota
PUBLIC_OWNER = "image-owner"


def image_uuid(image_id: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, image_id))


@dataclass
class GlanceImage:
    """An image as Glance has it now."""

    spec: Any  # sim.scenario.Image
    updated_at: datetime.datetime
    urls: list[str] = field(default_factory=list)

    @property
    def virtual_gib(self) -> float:
        return float(self.spec.virtual_size_bytes) / GIB

    @property
    def owner(self) -> str:
        return self.spec.owner or PUBLIC_OWNER

    def meta(self) -> dict[str, Any]:
        return {
            "id": image_uuid(self.spec.image_id),
            "name": self.spec.name,
            "status": "active",
            "owner": self.owner,
            "disk_format": self.spec.disk_format,
            "container_format": self.spec.container_format,
            "size": self.spec.size_bytes,
            "virtual_size": self.spec.virtual_size_bytes or None,
            "min_disk": 0,
            "min_ram": 0,
            "checksum": None,
            "properties": {},
            "updated_at": self.updated_at,
            "created_at": self.updated_at,
        }


class Glance:
    """The image list, and the streams on which images are sent."""

    def __init__(self, time: simtime.Time, spec: Any, images: dict[str, Any], start: Any) -> None:
        self.time = time
        self.rate = spec.stream_mib_s
        self.streams = simtime.Slots(time, spec.streams)
        self.images = {
            image_uuid(image_id): GlanceImage(image, start) for image_id, image in images.items()
        }

    def find(self, context: Any, image_id: str) -> GlanceImage:
        image = self.images.get(image_id)
        private = image is not None and bool(image.spec.owner)
        if image is None or (
            private and not context.is_admin and context.project_id != image.owner
        ):
            raise exception.ImageNotFound(image_id=image_id)
        return image

    def send(self, size_bytes: int) -> None:
        self.streams.use(size_bytes / MIB / self.rate if self.rate else 0.0)


class ImageService:
    """Glance as one attempt at a create sees it: real Cinder makes one for each attempt.

    It keeps what it read first, so that a create goes on when its image is deleted meanwhile.
    """

    def __init__(self, glance_: Glance) -> None:
        self.glance = glance_
        self.temp_images: Any = None
        self.read: GlanceImage | None = None

    def show(self, context: Any, image_id: str) -> dict[str, Any]:
        if self.read is None:
            self.read = copy.copy(self.glance.find(context, image_id))
        return self.read.meta()

    def get_location(self, context: Any, image_id: str) -> tuple[str | None, list[Any]]:
        urls = self.glance.find(context, image_id).urls
        return (urls[0] if urls else None), [{"url": url, "metadata": {}} for url in urls]


class SimDriver(volume_driver.VolumeDriver):
    """A driver whose array is simulated; `connect` gives it one before the service starts."""

    VERSION = "1"

    def connect(self, array: Array, tiers: tuple[str, ...], cloud: Cloud) -> None:
        spec = array.spec
        self.array, self.tiers, self.cloud, self.time = array, tiers, cloud, cloud.time
        self.write_slots = simtime.Slots(cloud.time, spec.write_streams)

    def do_setup(self, context: Any) -> None: ...

    def check_for_setup_error(self) -> None: ...

    def remove_export(self, context: Any, volume: Any) -> None: ...

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        tiers = list(self.tiers)
        return {
            "volume_backend_name": tiers[0] if len(tiers) == 1 else tiers,
            "vendor_name": "sim",
            "driver_version": self.VERSION,
            "storage_protocol": "sim",
            "pools": [self.array.report(pool) for pool in self.array.spec.pools],
        }

    @staticmethod
    def _pool(volume: Any) -> str:
        return str(volume["host"]).partition("#")[2]

    def create_volume(self, volume: Any) -> None:
        self.array.create(volume["id"], self._pool(volume), volume["size"])
        self.time.sleep(self.array.spec.create_s)

    def create_cloned_volume(self, volume: Any, source: Any) -> None:
        spec = self.array.spec
        self.array.clone(volume["id"], volume["size"], source["id"])
        copy_s = source["size"] * 1024 / spec.clone_mib_s if spec.clone_mib_s else 0.0
        self.time.sleep(spec.clone_s + copy_s)
        stored = source["id"] in self.cloud.store_volumes
        self.cloud.made(volume, "store" if stored else "cache")

    def clone_image(
        self, context: Any, volume: Any, location: Any, meta: dict[str, Any], service: Any
    ) -> tuple[None, bool]:
        if not self.array.spec.driver_clones_raw or meta["disk_format"] != "raw":
            return None, False
        spec, image = self.array.spec, service.read
        copied = image.virtual_gib if spec.clone_mib_s else 0.0  # else it shares Glance's data
        self.array.put(
            volume["id"], self._pool(volume), volume["size"], copied, (meta["id"], image.updated_at)
        )
        copy_s = copied * 1024 / spec.clone_mib_s if spec.clone_mib_s else 0.0
        self.time.sleep(spec.clone_s + copy_s)
        self.cloud.made(volume, "driver")
        return None, True

    def copy_image_to_volume(
        self, context: Any, volume: Any, service: ImageService, image_id: str, **_: Any
    ) -> None:
        spec, image = self.array.spec, service.read
        assert image is not None
        self.array.write(volume["id"], image.virtual_gib, (image_id, image.updated_at))
        mib = image.virtual_gib * 1024
        converted = image.spec.disk_format != "raw" and spec.convert_mib_s
        convert_s = mib / spec.convert_mib_s if converted else 0.0
        self.write_slots.use(convert_s, mib / spec.write_mib_s if spec.write_mib_s else 0.0)
        self.cloud.made(volume, "download")

    copy_image_to_encrypted_volume = copy_image_to_volume

    def extend_volume(self, volume: Any, new_size: int) -> None:
        self.array.extend(volume["id"], new_size)
        self.time.sleep(self.array.spec.extend_s)

    def delete_volume(self, volume: Any) -> None:
        if volume["id"] not in self.array.volumes:
            return
        self.array.check_delete(volume["id"])
        self.time.sleep(self.array.spec.delete_s)
        self.array.remove(volume["id"])


def through_rpc(context: Any, value: Any) -> Any:
    """A copy, as an argument of a message arrives at the other end of the bus."""
    if isinstance(value, objects.base.CinderObject):
        return type(value).obj_from_primitive(value.obj_to_primitive(), context)
    if isinstance(value, dict):
        return {name: through_rpc(context, part) for name, part in value.items()}
    return copy.deepcopy(value)


class SchedulerAPI:
    """`cinder.scheduler.rpcapi.SchedulerAPI` over the simulated bus."""

    def __init__(self) -> None:
        self.cloud = Cloud.current

    def create_volume(self, context: Any, volume: Any, **kwargs: Any) -> None:
        self.cloud.cast_schedule(
            context, through_rpc(context, volume), through_rpc(context, kwargs)
        )

    def update_service_capabilities(
        self, context: Any, service: str, host: str, capabilities: Any, cluster: Any, **_: Any
    ) -> None:
        self.cloud.scheduler.update_service_capabilities(
            context, service, host, copy.deepcopy(capabilities), cluster
        )

    def notify_service_capabilities(
        self, context: Any, service: str, backend: str, capabilities: Any, **_: Any
    ) -> None:
        # Cinder cannot tell the usage of pools that are "infinite": a KeyError, which stays at
        # the other end of a cast.
        with contextlib.suppress(KeyError):
            self.cloud.scheduler.notify_service_capabilities(
                context, service, copy.deepcopy(capabilities), backend=backend
            )


class VolumeAPI:
    """`cinder.volume.rpcapi.VolumeAPI` over the simulated bus."""

    def __init__(self) -> None:
        self.cloud = Cloud.current

    def create_volume(
        self, context: Any, volume: Any, spec: Any, properties: Any, allow_reschedule: bool
    ) -> None:
        args = {"request_spec": spec, "filter_properties": properties}
        volume, args = through_rpc(context, volume), through_rpc(context, args)
        self.cloud.placed(context, volume, args, allow_reschedule)

    def delete_volume(
        self, context: Any, volume: Any, unmanage_only: bool = False, cascade: bool = False
    ) -> None:
        self.cloud.cast_delete(context, through_rpc(context, volume))


class Cloud:
    """What the stand-ins need of a run; `sim_run.Run` fills it in."""

    current: Any = None
    time: simtime.Time
    store_volumes: set[str]

    def made(self, volume: Any, source: str) -> None:
        raise NotImplementedError


# The process: options, patches, database


@functools.cache
def _database() -> tuple[Any, Any, bytes]:
    """Cinder's database: sqlite in memory, on one connection that all greenlets share.

    Returns the facade for it, the connection, and the empty database as Cinder's own migrations
    make it. Once a process: SQLAlchemy keeps its compiled statements with the engine.
    """
    from cinder.db import migration

    facade = enginefacade.transaction_context()
    facade.configure(connection="sqlite://")
    connection = facade.writer.get_engine().raw_connection().driver_connection
    reset = db_api.main_context_manager.patch_factory(facade)
    try:
        migration.db_sync()
    finally:
        reset()
    return facade, connection, connection.serialize()


@contextlib.contextmanager
def _fresh_database() -> Iterator[Any]:
    facade, connection, empty = _database()
    connection.deserialize(empty)
    reset = db_api.main_context_manager.patch_factory(facade)
    try:
        yield connection
    finally:
        reset()


@contextlib.contextmanager
def _overridden(options: dict[tuple[str | None, str], Any]) -> Iterator[None]:
    for (group, name), value in options.items():
        CONF.set_override(name, value, group=group)
    try:
        yield
    finally:
        for group, name in options:
            CONF.clear_override(name, group=group)


@contextlib.contextmanager
def _clock(clock: simtime.Clock) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        timeutils.set_time_override(clock)  # type: ignore[arg-type]
        try:
            yield
        finally:
            timeutils.clear_time_override()


@contextlib.contextmanager
def _temporary_file(prefix: str = "", **_: Any) -> Iterator[str]:
    yield f"/simulated/{prefix}"


def _never_expired(with_timezone: bool = False) -> datetime.datetime:
    """Heartbeats are not simulated: no service is ever down."""
    return datetime.datetime.min.replace(tzinfo=datetime.UTC if with_timezone else None)


class Nothing:
    """A notifier, or a key manager, that does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_args, **_kwargs: None


@contextlib.contextmanager
def simulated(run: Any, options: dict[tuple[str | None, str], Any]) -> Iterator[None]:
    """Everything around Cinder replaced, for the time of one run."""

    def fetch(context: Any, service: ImageService, image_id: str, _dest: str) -> None:
        assert service.read is not None
        run.glance.send(service.read.spec.size_bytes)

    def qemu_img_info(path: str, **_: Any) -> Any:
        image = run.all_images[os.path.basename(path).split("_")[2]]
        return SimpleNamespace(
            virtual_size=image.spec.virtual_size_bytes,
            file_format=image.spec.disk_format,
            backing_file=None,
        )

    def sleep(seconds: float) -> None:
        (real_sleep if greenlet.getcurrent() is run.time.hub else run.time.sleep)(seconds)

    real_sleep = real_time.sleep
    state = tempfile.mkdtemp(prefix="whole-cinder-")
    options = {**options, (None, "state_path"): state}
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, state, ignore_errors=True)
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable(logging.CRITICAL)  # Cinder's debug messages take a third of the time
        stack.enter_context(_overridden(options))
        stack.enter_context(mock.patch.object(Cloud, "current", run))
        for target, name, new in (
            (scheduler_rpcapi, "SchedulerAPI", SchedulerAPI),
            (volume_rpcapi, "VolumeAPI", VolumeAPI),
            (backup_rpcapi, "BackupAPI", Nothing),
            (rpc, "get_notifier", Nothing),
            (utils, "notifications_enabled", lambda _conf: False),
            (utils, "service_expired_time", _never_expired),
            (utils, "clean_volume_file_locks", lambda *_: None),
            (utils, "api_clean_volume_file_locks", lambda *_: None),
            (key_manager, "API", Nothing),
            (glance, "get_default_image_service", lambda: ImageService(run.glance)),
            (glance, "get_remote_image_service", lambda _c, i: (ImageService(run.glance), i)),
            (image_utils, "fetch_verify_image", fetch),
            (image_utils, "qemu_img_info", qemu_img_info),
            (image_utils, "check_available_space", lambda *_: None),
            (image_utils, "temporary_file", _temporary_file),
            (coordination.COORDINATOR, "coordinator", run.coordinator),
            (real_time, "sleep", sleep),
        ):
            stack.enter_context(mock.patch.object(target, name, new))
        stack.enter_context(_clock(run.clock))
        connection = stack.enter_context(_fresh_database())

        def outside_transactions() -> None:
            if connection.in_transaction:
                raise RuntimeError("parked inside a transaction")

        run.time.before_park = outside_transactions
        yield


def admin() -> Any:
    return cinder_context.get_admin_context()


def image_gib(size_bytes: int) -> int:
    return max(1, math.ceil(size_bytes / GIB))
