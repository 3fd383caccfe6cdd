"""One run's process around Cinder: options, patches, the clock and the database, and none after."""

from __future__ import annotations

import contextlib
import datetime
import functools
import logging
import os
import shutil
import tempfile
import time as real_time
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import greenlet
import sqlalchemy.event
from castellan import key_manager
from castellan.tests.unit.key_manager.mock_key_manager import MockKeyManager
from cinder import context as cinder_context
from cinder import coordination, quota, rpc, utils
from cinder.backup import rpcapi as backup_rpcapi
from cinder.image import glance, image_utils
from cinder.scheduler import rpcapi as scheduler_rpcapi
from cinder.scheduler.weights import chance, stochastic, volume_number
from cinder.volume import rpcapi as volume_rpcapi
from cinder.volume import volume_utils
from oslo_config import cfg
from oslo_db.sqlalchemy import enginefacade
from oslo_utils import timeutils

from sim.cinder.release import MENDS, db_api
from sim.model.lottery import SCHEDULER, numbers

from . import simtime
from .bus import SchedulerAPI, VolumeAPI
from .cloud import ATTACHED, Cloud, ImageService

CONF = cfg.CONF


def admin() -> Any:
    return cinder_context.get_admin_context()


def user(project: str) -> cinder_context.RequestContext:
    """A user of a project."""
    return cinder_context.RequestContext(
        user_id=project,
        project_id=project,
        is_admin=False,
        roles=["member", "reader"],
        overwrite=False,
    )


@functools.cache
def _database() -> tuple[Any, Any, bytes]:
    """Cinder's database: sqlite in memory, on one connection that all greenlets share.

    Returns the facade for it, the connection, and the empty database as Cinder's own migrations
    make it. Once a process: SQLAlchemy keeps its compiled statements with the engine.
    """
    from cinder.db import migration

    facade = enginefacade.transaction_context()
    facade.configure(connection="sqlite://", connection_recycle_time=-1)  # never, or the database is lost
    connection = facade.writer.get_engine().raw_connection().driver_connection
    reset = db_api.main_context_manager.patch_factory(facade)
    try:
        migration.db_sync()
    finally:
        reset()
    return facade, connection, connection.serialize()


@contextlib.contextmanager
def _fresh_database() -> Iterator[Callable[[], bool]]:
    """Gives whether a transaction is under way."""
    facade, connection, empty = _database()
    connection.deserialize(empty)
    reset = db_api.main_context_manager.patch_factory(facade)
    try:
        yield lambda: connection.in_transaction
    finally:
        reset()


@contextlib.contextmanager
def connected(url: str) -> Iterator[Callable[[], bool]]:
    """Cinder over a database that is empty, or Cinder's already; it is left as it is at the end.

    Gives whether a transaction is under way.
    """
    from cinder.db import migration

    facade = enginefacade.transaction_context()
    facade.configure(connection=url, sqlite_synchronous=False)
    engine = facade.writer.get_engine()
    under_way: set[Any] = set()
    sqlalchemy.event.listen(engine, "begin", under_way.add)
    for end in ("commit", "rollback"):
        sqlalchemy.event.listen(engine, end, under_way.discard)
    reset = db_api.main_context_manager.patch_factory(facade)
    try:
        migration.db_sync()
        yield lambda: bool(under_way)
    finally:
        reset()
        engine.dispose()


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


_data_get_for_host = volume_number.db.volume_data_get_for_host


def _volume_data_get_for_host(context: Any, **more: Any) -> Any:
    """Cinder's own, mended; that of 29 finds no context where VolumeNumberWeigher names it."""
    return _data_get_for_host(context, **more)


def _never_expired(with_timezone: bool = False) -> datetime.datetime:
    """Heartbeats are not simulated: no service is ever down."""
    return datetime.datetime.min.replace(tzinfo=datetime.UTC if with_timezone else None)


class Nothing:
    """A notifier, or the backup service, that does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_args, **_kwargs: None


@contextlib.contextmanager
def simulated(
    run: Any, options: dict[tuple[str | None, str], Any], database: str | None = None
) -> Iterator[None]:
    """Everything around Cinder replaced, for the time of one run.

    `database`: the URL of an empty one; None: one in memory, for this run only.
    """

    def fetch(context: Any, service: ImageService, image_id: str, dest: str) -> None:
        """Cinder's own, without its look at the data."""
        image_utils.fetch(context, service, image_id, dest, None, None)

    def qemu_img_info(path: str, **_: Any) -> Any:
        if path.startswith(ATTACHED):  # an encrypted volume, to get another key
            return SimpleNamespace(file_format="raw", encrypted=True)
        image = run.all_images[os.path.basename(path).split("_")[2]]
        return SimpleNamespace(
            virtual_size=image.spec.virtual_size_bytes,
            file_format=image.spec.disk_format,
            backing_file=None,
        )

    def add_volume_type_opts(context: Any, opts: dict[str, int], type_id: str) -> None:
        """Cinder's own; the second volume type of a tier, for encrypted volumes, counts as the first."""
        quota.QuotaEngine.add_volume_type_opts(quota.QUOTAS, context, opts, run.counts_as(type_id))

    def sleep(seconds: float) -> None:
        """Simulated in the run's greenlets; real in its hub, and in other threads, such as a notebook's."""
        simulated = greenlet.getcurrent().parent is run.time.hub
        (run.time.sleep if simulated else real_sleep)(seconds)

    number_of_volumes = _volume_data_get_for_host if MENDS.get() else _data_get_for_host
    drawn = SimpleNamespace(random=numbers(run.case, SCHEDULER))
    disk_usage = "shutil" if hasattr(image_utils, "shutil") else "psutil"  # of older releases
    real_sleep, keys = real_time.sleep, MockKeyManager()
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
            (key_manager, "API", lambda *_: keys),
            (volume_utils, "brick_get_connector_properties", lambda *_: {}),
            (utils, "execute", lambda *_, **__: ("", "")),  # cryptsetup
            (glance, "get_default_image_service", lambda: ImageService(run.glance)),
            (glance, "get_remote_image_service", lambda _c, i: (ImageService(run.glance), i)),
            (image_utils, "fetch_verify_image", fetch),
            (image_utils, "qemu_img_info", qemu_img_info),
            (image_utils, disk_usage, SimpleNamespace(disk_usage=run.disks.usage)),
            (volume_number.db, "volume_data_get_for_host", number_of_volumes),
            (stochastic, "random", drawn),
            (chance, "random", drawn),
            (coordination.COORDINATOR, "coordinator", run.coordinator),
            (quota.QUOTAS, "add_volume_type_opts", add_volume_type_opts),
            (real_time, "sleep", sleep),
        ):
            stack.enter_context(mock.patch.object(target, name, new))
        stack.enter_context(_clock(run.clock))
        in_transaction = stack.enter_context(connected(database) if database else _fresh_database())

        def outside_transactions() -> None:
            if in_transaction():
                raise RuntimeError("parked inside a transaction")

        run.time.before_park = outside_transactions
        yield
