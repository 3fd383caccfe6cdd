"""Each stand-in has what Cinder's code can ask of it, and takes its calls; what it lacks has a reason.

It holds for every release: only the names of what no release asks are checked on the newest one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import version
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import pytest
import tooz.coordination
import tooz.locking
from castellan.key_manager import key_manager
from cinder import coordination, objects, quota
from cinder.context import RequestContext
from cinder.image import cache, glance
from cinder.objects import volume as volume_object
from cinder.objects.service import ServiceList
from cinder.scheduler import host_manager
from cinder.scheduler import rpcapi as scheduler_rpcapi
from cinder.scheduler.flows import create_volume as scheduler_flow
from cinder.volume import driver, rpcapi, volume_utils
from cinder.volume.flows.api import create_volume as api_flow
from cinder.volume.flows.manager import create_volume as manager_flow
from oslo_config import cfg
from properties.cases import case_of, create, image, one_pool

from sim.cinder import api, database, engine, keys, locks, manager, quotas, rpc, scheduler
from sim.cinder import driver as cinder_driver
from sim.cinder import glance as cinder_glance
from sim.cinder.clock import TRACE, current_process
from sim.cinder.database import Context
from sim.cinder.recorder import Request
from sim.cinder.release import db_api
from sim.inputs.cinders import SUPPORTED
from sim.inputs.scenario import Case
from sim.inputs.strategies import STRATEGIES

from .asked import Walk, fits, lacking

# Where requests of a trace begin in Cinder's code.
BEGINS: list[tuple[type, tuple[str, ...]]] = [
    (api_flow.ExtractVolumeRequestTask, ("_get_image_metadata", "_get_encryption_key_id")),
    (scheduler_flow.ScheduleCreateVolumeTask, ("execute",)),
    (scheduler.ToldScheduler, ("_schedule", "update_service_capabilities")),
    (manager_flow.ExtractVolumeSpecTask, ("execute",)),
    (manager_flow.CreateVolumeFromSpecTask, ("execute",)),
    (manager_flow.CreateVolumeOnFinishTask, ("execute",)),
    (manager_flow.OnFailureRescheduleTask, ("revert",)),
    (manager.VolumeManager, ("_update_allocated_capacity", "_create_image_cache_volume_entry")),
    (manager.VolumeManager, ("copy_volume_to_image", "delete_volume", "extend_volume")),
    (api.VolumeAPI, ("delete", "extend")),
    (scheduler.SchedulerManager, ("extend_volume",)),
    (api.Actions, ("_volume_upload_image",)),
]
# Objects with Cinder's own code.
OBJECTS: dict[str, type] = {
    "self.image_volume_cache": cache.ImageVolumeCache,
    "self.manager": manager.VolumeManager,
    "self.volume_api": api.VolumeAPI,
    "self.driver_api": scheduler.ToldScheduler,
    "self.host_manager": host_manager.HostManager,
    "coordinator": coordination.Coordinator,
}
# What stand-ins are called in Cinder's functions.
LOCAL = {
    **dict.fromkeys(("volume", "volume_ref", "image_volume", "srcvol_ref"), "volume"),
    "volume.model": "volume",
    "volume.volume_type": "volume_type",
    **dict.fromkeys(("context", "ctxt", "ctx", "internal_context", "elevated", "admin_context"), "context"),
    **dict.fromkeys(("self.reschedule_context", "image_volume_context", "internal_ctx"), "context"),
    **dict.fromkeys(("self.driver", "driver"), "driver"),
    "self.driver.configuration": "configuration",
    "self.db": "db",
    **dict.fromkeys(("image_service", "self.image_service"), "image_service"),
    **dict.fromkeys(("image_meta", "image_metadata"), "image_meta"),
    "recv_metadata": "created_image",
    "data": "file_info",
    "image_info": "attached_info",
    "attach_info": "attached",
    **dict.fromkeys(("key_mgr", "keymgr", "key_manager", "self._key_manager"), "key_manager"),
    "self.key_manager": "key_manager",
    **dict.fromkeys(("key", "new_key"), "key"),
    "encryption": "encryption",
    "volume_type_encryption": "encryption_of_type",
    **dict.fromkeys(("self.message", "self.message_api"), "messages"),
    "self.notifier": "notifier",
    "self.volume_rpcapi": "volume_rpcapi",
    "self.scheduler_rpcapi": "scheduler_rpcapi",
    "service": "service",
    **dict.fromkeys(("cache_entry", "entry"), "entry"),
    "meta_entry": "glance_metadata",
    "request_spec": "request_spec",
    "vol": "volume_properties",
    "self.coordinator": "coordinator",
    "lock": "lock",
}
GLOBAL = {
    "QUOTAS": "quotas",
    "CONF": "options",
    "db": "replaced_db",
    "objects.Volume": "Volume",
    "objects.ServiceList": "ServiceList",
}
SNAPSHOTS = "snapshots are not simulated"
ENDS = {
    "cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask._create_from_snapshot": SNAPSHOTS,
    "cinder.volume.manager:VolumeManager.delete_snapshot": SNAPSHOTS,
    "cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask._create_from_backup": "no backups",
}
# What stand-ins lack, and why nothing simulated can ask for it.
LACKED = {
    "configuration.safe_get": "for a host without a pool: each has one",
    "created_image[is_public]": "the API's first version does not tell",
    "created_image[protected]": "the API's first version does not tell",
    "created_image[visibility]": "the API's first version does not tell",
    "db.volume_admin_metadata_get": "for an administrator's view of a volume",
    "db.volume_glance_metadata_copy_to_volume": SNAPSHOTS,
    "driver.backend_passes_filters": "of the scheduler's driver, which is Cinder's own",
    "driver.get_version": "for a driver without support",
    "driver.unmanage": "nobody unmanages a volume",
    "image_meta[visibility]": "of the request, not of the image",
    "replaced_db.project_default_volume_type_get": "every volume has a type",
    "replaced_db.volume_type_get_by_name": "every volume has a type",
    "replaced_db.volume_has_other_project_snp_filter": "nobody deletes a volume with its snapshots",
    "replaced_db.volume_has_snapshots_in_a_cgsnapshot_filter": "nobody deletes a volume with its snapshots",
    "replaced_db.volume_has_undeletable_snapshots_filter": "nobody deletes a volume with its snapshots",
    "request_spec[backup_id]": "no backups: asked by `get`",
    "request_spec[group_id]": "no groups: asked by `get`",
    "request_spec[resource_backend]": "no groups: asked by `get`",
    "request_spec[volume]": "of an object, not of a dictionary",
    "volume.obj_reset_changes": "for an administrator's view of a volume",
    "volume_properties[availability_zone]": "for filters that are not simulated: asked by `get`",
    "volume_properties[host]": "of a volume, which one function calls `vol`",
    "volume_properties[metadata]": "for filters that are not simulated: asked by `get`",
    "volume_properties[qos_specs]": "for filters that are not simulated: asked by `get`",
    "volume_properties[user_id]": "for filters that are not simulated: asked by `get`",
}
# The classes, or the module, whose place stand-ins take.
REAL: list[tuple[type, Any]] = [
    (database.Volume, volume_object.Volume),
    (database.VolumeClass, volume_object.Volume),
    (database.Context, RequestContext),
    (database.Database, db_api),
    (quotas.Quotas, quota.VolumeTypeQuotaEngine),
    (cinder_glance.ImageService, glance.GlanceImageService),
    (cinder_driver.Driver, driver.VolumeDriver),
    (keys.KeyManager, key_manager.KeyManager),
    (locks.Coordinator, tooz.coordination.CoordinationDriver),
    (locks.Lock, tooz.locking.Lock),
    (rpc.VolumeRPC, rpcapi.VolumeAPI),
    (rpc.SchedulerRPC, scheduler_rpcapi.SchedulerAPI),
    (scheduler.ServiceList, ServiceList),
]
# What takes more arguments than the real one needs, and why it always gets them.
GIVEN = {
    "Database.image_volume_cache_get_all": "the cache always asks for a host",
    "Database.image_volume_cache_get_and_update_last_used": "the cache always asks for a host",
    "ImageService.update": "called by the simulated driver alone",
    "SchedulerRPC.create_volume": "a reschedule names the request",
    "Database.volume_data_get_for_host": "the weigher wants their number alone",
    "Database.volume_get_all": "asked for volumes by their ids",
    "ServiceList.get_all": "the scheduler always filters",
}
# What stand-ins have besides, for the simulator.
OWN = {
    # A column's value; the fields; a type without specs; the scenario's name of the host.
    "Volume": {"model", "keys", "volume_type", "pool"},
    "Database": {"new_id", "add_entry", "entries", "entry"},
    "Quotas": {"take", "count"},
}


class Examined(engine.Simulation):
    """A simulation whose parts are looked at after its events, while they are in Cinder's modules."""

    def __init__(self, case: Case, look: Callable[[Examined], None]) -> None:
        super().__init__(case, STRATEGIES["combined"])
        self.look = look
        self.request_spec: dict[str, Any] = {}

    def _schedule(self, request: Any, context: Any, volume: Any, request_spec: Any, properties: Any) -> None:
        self.request_spec = dict(request_spec)
        super()._schedule(request, context, volume, request_spec, properties)

    def run(self) -> None:
        self.clock.at(1000, lambda _: self.clock.start(self._look), TRACE)
        super().run()

    def _look(self) -> None:
        current_process().request = Request("", None)
        current_process().node = "c1"
        self.look(self)

    def standins(self) -> dict[str, Any]:
        """By name, an object of each."""
        service, asking = next(iter(self._services)), Context("user", "project", True)
        formats = {"container_format": "bare", "disk_format": "raw"}
        self.glance.fetch_verify_image(asking, self.glance.service(), "base", "/file")
        images, keys = self.glance.service("new"), self._volume_api.key_manager
        volume = self.db.volumes["w"]
        attached, _ = service.driver._attach_volume(asking, volume, {})
        return {
            "volume": volume,
            "volume_type": volume.volume_type,
            "context": asking,
            "driver": service.driver,
            "configuration": service.driver.configuration,
            "db": self.db,
            "image_service": self.glance.service(),
            "image_meta": self.glance.service().show(asking, "secret"),
            "created_image": images.create(asking, formats | {"name": "n"}),
            "file_info": self.glance.qemu_img_info("/file"),
            "attached_info": self.glance.qemu_img_info(attached["device"]["path"]),
            "attached": attached,
            "key_manager": keys,
            "key": keys.get(asking, keys.create_key(asking, "aes", 256)),
            "encryption": self.db.volume_encryption_metadata_get(asking, "w"),
            "encryption_of_type": self.db.volume_type_encryption_get(asking, "flash"),
            "messages": service.message_api,
            "notifier": service.image_volume_cache.notifier,
            "volume_rpcapi": self.volume_rpcapi,
            "scheduler_rpcapi": service.scheduler_rpcapi,
            "service": objects.ServiceList.objects[0],
            "entry": self.db.entries()[0],
            "glance_metadata": self.db.volume_glance_metadata_get(asking, "v")[0],
            "request_spec": self.request_spec,
            "volume_properties": self.request_spec["volume_properties"],
            "coordinator": coordination.COORDINATOR.coordinator,
            "lock": coordination.COORDINATOR.coordinator.get_lock(b"name"),
            "quotas": self.quotas,
            "options": cfg.CONF,
            "replaced_db": SimpleNamespace(**replaced(volume_utils.db)),
            "Volume": objects.Volume,
            "ServiceList": objects.ServiceList,
            "VolumeManager": service,
            "VolumeAPI": self._volume_api,
            "Actions": self._actions,
        }


def replaced(module: ModuleType) -> dict[str, Any]:
    """What is replaced in a module of Cinder, and its classes, which need no database."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) or getattr(value, "__module__", "").startswith("sim.")
    }


def examined(look: Callable[[Examined], None]) -> None:
    """Let a small case run, with a volume of each kind, and look at what it ran with."""
    events = [create(0, "v", "base", ""), create(1, "w", "", "", encrypted=True)]
    events += [{"time": 100, "event": "upload", "volume_id": "w", "image_id": "secret"}]
    events += [{"time": 2000, "event": "upload", "volume_id": "v", "image_id": "new"}]
    images = [image(name) for name in ("base", "secret", "new")]
    case = case_of(one_pool() | {"upload": "no-op"}, images, events)
    engine.played(Examined(case, look), cinder_log=True)  # without a log, less of Cinder runs


def walked() -> Walk:
    walk = Walk(LOCAL, GLOBAL, OBJECTS, ENDS)
    for owner, names in BEGINS:
        for name in names:
            # Cinder's own, where a subclass has another.
            parents = (each for each in owner.__mro__ if each.__module__.startswith("cinder"))
            walk.follow(next(vars(each)[name] for each in parents if name in vars(each)), owner)
    walk.follow(coordination.synchronized)
    return walk


def test_standins_have_whatever_cinder_can_ask_of_them() -> None:
    def look(simulation: Examined) -> None:
        standins, walk = simulation.standins(), walked()
        known = {each for each in walk.asked if each.of in standins}
        # The rest are attributes of Cinder's own objects, which Cinder's own constructors set.
        others = {each.of for each in walk.asked - known}
        assert all(not of.islower() for of in others), others
        found = lacking(iter(known), standins)
        unknown = {name: sorted(by) for name, by in sorted(found.items()) if name not in LACKED}
        assert unknown == {}, "give the stand-in what is asked for, or say why nothing asks for it"
        if version("cinder") == SUPPORTED[-1]:
            assert sorted(set(LACKED) - set(found)) == []
            assert sorted(set(ENDS) - walk.ended) == []
            asked_of = {each.of for each in walk.asked}
            assert sorted({*LOCAL.values(), *GLOBAL.values()} - asked_of) == []

    examined(look)


def test_what_is_missing_and_calls_that_do_not_fit_are_told() -> None:
    def look(simulation: Examined) -> None:
        standins, asked = simulation.standins(), walked().asked
        del standins["configuration"].use_multipath_for_image_xfer
        del standins["image_meta"]["disk_format"]
        standins["key_manager"] = SimpleNamespace(get=lambda: None)
        found = set(
            lacking(iter(asked), {name: standins.get(name, cfg.CONF) for name in {a.of for a in asked}})
        )
        assert found >= {
            "configuration.use_multipath_for_image_xfer",
            "image_meta[disk_format]",
            "key_manager.get(2, ())",
            "key_manager.delete",
        }

    examined(look)


@pytest.mark.parametrize(("standin", "real"), REAL, ids=lambda of: getattr(of, "__qualname__", "db"))
def test_standins_take_the_calls_of_what_they_stand_for(standin: type, real: Any) -> None:
    """Each function that a stand-in has is one of the real thing, and takes what that one must be given."""
    for name, ours in vars(standin).items():
        if name.startswith("_") and name not in ("_attach_volume", "_detach_volume"):
            continue
        if name in OWN.get(standin.__name__, ()) or not isinstance(ours, FunctionType | property):
            continue
        assert hasattr(real, name), f"{real.__name__} has no {name}"
        if f"{standin.__name__}.{name}" in GIVEN:
            continue
        if isinstance(ours, FunctionType) and callable(theirs := getattr(real, name)):
            number = needed(theirs) - (not isinstance(real, ModuleType) and not inspect.ismethod(theirs)) + 1
            assert fits(ours, (number, ())), f"{name} does not take {number} arguments"


def needed(function: Any) -> int:
    """How many arguments a function must be given by position."""
    parameters = inspect.signature(inspect.unwrap(function)).parameters.values()
    return sum(each.kind <= each.POSITIONAL_OR_KEYWORD and each.default is each.empty for each in parameters)
