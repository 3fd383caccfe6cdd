"""The services of a scenario, and what exists before its trace begins."""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import greenlet
from cinder import exception, objects, quota
from cinder.objects import fields
from cinder.scheduler import filter_scheduler  # noqa: F401 registers the scheduler's options
from cinder.scheduler import manager as scheduler_manager
from cinder.scheduler.weights import capacity, volume_number  # noqa: F401 registers theirs
from cinder.volume import api as volume_api
from cinder.volume import configuration, volume_types
from cinder.volume import driver as volume_driver
from cinder.volume import manager as volume_manager
from cinder.volume.flows.api import create_volume as api_flow

from sim.cinder.release import db_api
from sim.model.lottery import LOCKS, numbers

from . import simtime
from .arrays import GIB, Array
from .cloud import (
    INTERNAL_PROJECT,
    STORE_PROJECT,
    Cloud,
    Glance,
    GlanceImage,
    Queues,
    SimDriver,
    image_gib,
    image_uuid,
)
from .disks import Disks
from .process import admin, user

CLUSTER, SHARED = "cl", "shared"  # a cluster's name, and the host of nodes without one
EPOCH = datetime.datetime(2026, 1, 1)
PLACED = ("store-only", "combined")  # Glance asks Cinder for image-volumes
WITH_STORE = ("store-only", "combined", "replicated-store")
WITH_CACHE = ("cache-only", "combined")
HANDLERS = {
    "OrderedHostWeightHandler": "cinder.scheduler.weights.OrderedHostWeightHandler",
    "StochasticHostWeightHandler": "cinder.scheduler.weights.stochastic.StochasticHostWeightHandler",
}


def _limit(limit: int | None) -> int:
    return -1 if limit is None else limit


@dataclass
class Service:
    """A cinder-volume service: one backend on one node."""

    host: str  # node@backend; nodes without a cluster have one in common
    node: str
    position: int  # of the node among the backend's
    cluster: str | None
    array: Array
    queues: Queues
    threads: simtime.Turns  # for the messages that it handles
    manager: Any = field(default=None)


class StartedCloud(Cloud):
    """Cinder's services as a scenario has them, with what exists at the start."""

    def __init__(self, case: Any, strategy: str) -> None:
        self.case, self.scenario, self.strategy = case, case.scenario, strategy
        self.start = (case.trace.start or EPOCH).replace(tzinfo=None)
        self.time = simtime.Time()
        self.clock = simtime.Clock(self.time.env, self.start)
        cinder_options = self.scenario.cinder
        draw = numbers(case, LOCKS) if cinder_options.lock_order == "chance" else lambda: 0.0
        self.coordinator = simtime.Coordinator(self.time, cinder_options.lock_scope == "node", draw)
        before = (self.start - datetime.timedelta(days=30)).replace(tzinfo=datetime.UTC)
        self.disks = Disks(self.scenario.nodes)
        self.glance = Glance(self, self.scenario.glance, case.images, case.uploaded, before)
        self.all_images = {**self.glance.images, **self.glance.to_come}
        self.image_ids = {uuid: i.spec.image_id for uuid, i in self.all_images.items()}
        self.services = {name: self._services(name, spec) for name, spec in self.scenario.backends.items()}
        self.turns: Counter[str] = Counter()  # creates that were cast to each backend
        self.makers = {}
        owns_store = self.scenario.cinder.internal_tenant_owns_store
        self.store_project = INTERNAL_PROJECT if owns_store else STORE_PROJECT
        self.initial: dict[str, tuple[str, str]] = {}  # trace id -> uuid, project

    def _services(self, name: str, spec: Any) -> list[Service]:
        """A backend's services, in the order of its nodes."""
        array, queues = Array(spec), Queues(self.time, spec)
        nodes = spec.node_names
        cluster = f"{CLUSTER}@{name}" if spec.cluster else None
        hosts = [f"{node if cluster or len(nodes) == 1 else SHARED}@{name}" for node in nodes]
        return [
            Service(
                host, node, position, cluster, array, queues, simtime.Turns(self.time, self._threads(node))
            )
            for position, (host, node) in enumerate(zip(hosts, nodes, strict=True))
        ]

    def _threads(self, node: str) -> int | None:
        limits = self.scenario.nodes.get(node)
        return limits.executor_thread_pool_size if limits else None

    def options(self) -> dict[tuple[str | None, str], Any]:
        cinder = self.scenario.cinder
        options: dict[tuple[str | None, str], Any] = {
            (None, "allowed_direct_url_schemes"): (["cinder"] if self.strategy in WITH_STORE else []),
            (None, "cinder_internal_tenant_project_id"): INTERNAL_PROJECT,
            (None, "cinder_internal_tenant_user_id"): INTERNAL_PROJECT,
            (None, "default_availability_zone"): cinder.default_availability_zone,
            (None, "no_snapshot_gb_quota"): True,
            (None, "scheduler_max_attempts"): cinder.scheduler_max_attempts,
            (None, "image_conversion_disable"): cinder.image_conversion_disable,
        }
        options |= {
            (None, name): getattr(cinder, name)
            for name in (
                "capacity_weight_multiplier",
                "allocated_capacity_weight_multiplier",
                "volume_number_multiplier",
            )
        }
        options[None, "scheduler_default_filters"] = list(cinder.scheduler_default_filters)
        options[None, "scheduler_default_weighers"] = list(cinder.scheduler_default_weighers)
        options[None, "scheduler_weight_handler"] = HANDLERS[cinder.scheduler_weight_handler]
        cached = self.strategy in WITH_CACHE
        uploads = {
            "image_upload_use_cinder_backend": self.scenario.upload == "no-op",
            "image_upload_use_internal_tenant": cinder.image_upload_use_internal_tenant,
        }
        for name, spec in self.scenario.backends.items():
            for opts in (volume_driver.image_opts, volume_driver.volume_opts):
                configuration.Configuration(opts, config_group=name)
            options[name, "image_volume_cache_enabled"] = cached and spec.image_volume_cache_enabled
            for key in ("image_volume_cache_max_size_gb", "image_volume_cache_max_count"):
                options[name, key] = getattr(spec, key)
            options[name, "backend_availability_zone"] = spec.availability_zone
            for key in ("filter_function", "goodness_function"):
                options[name, key] = getattr(spec, key)
            options.update({(name, key): value for key, value in uploads.items()})
        return options

    # The cloud before the trace begins

    def build(self) -> None:
        context = admin()
        rows = {service.host: service for services in self.services.values() for service in services}
        for service in rows.values():
            if service.cluster is not None and service.position == 0:
                objects.Cluster(context, name=service.cluster, binary="cinder-volume").create()
            row = objects.Service(
                context,
                host=service.host,
                cluster_name=service.cluster,
                binary="cinder-volume",
                topic="cinder-volume",
                availability_zone=service.array.spec.availability_zone,
                report_count=0,
            )
            row.create()
            row.report_count = 1
            row.save()
        self.types = {
            tier: volume_types.create(context, tier, self._extra_specs(tier))["id"]
            for tier in self.scenario.tiers
        }
        self.encrypted_types = {tier: self._encrypted_type(tier) for tier in self.types}
        self._set_quotas()
        self._put_initial()
        self._put_store()
        self.scheduler = scheduler_manager.SchedulerManager()
        self.scheduler._startup_delay = False
        self.api = volume_api.API()
        for name, services in self.services.items():
            for service in services:
                self._start(name, service)

    def tier_of(self, volume: Any) -> Any:
        """The tier of a volume, encrypted or not."""
        type_id = self.counts_as(volume.volume_type_id)
        return next(self.scenario.tiers[tier] for tier, of in self.types.items() if of == type_id)

    def counts_as(self, type_id: str) -> str:
        """The volume type whose quota a volume takes."""
        return next((self.types[tier] for tier, of in self.encrypted_types.items() if of == type_id), type_id)

    def _extra_specs(self, tier: str) -> dict[str, str]:
        store_id = self.scenario.tiers[tier].image_service_store_id
        return {"volume_backend_name": tier, **({"image_service:store_id": store_id} if store_id else {})}

    def _encrypted_type(self, tier: str) -> str:
        """A second volume type of a tier, for its encrypted volumes."""
        name = f"{tier}, encrypted"
        made = volume_types.create(admin(), name, self._extra_specs(tier))["id"]
        spec = {"provider": "luks", "control_location": "front-end", "cipher": "aes-xts-plain64"}
        db_api.volume_type_encryption_create(admin(), made, {**spec, "key_size": 256})
        return str(made)

    def _set_quotas(self) -> None:
        """What no quota is set for is unlimited, and not as Cinder's options have it."""
        cinder = self.scenario.cinder
        resources = ["volumes", "gigabytes", "per_volume_gigabytes", "snapshots"]
        resources += [f"{each}_{tier}" for tier in self.types for each in resources[:2]]
        unlimited: dict[str, Any] = dict.fromkeys(resources)
        tenant = {
            "volumes": cinder.internal_tenant_quota_volumes,
            "gigabytes": cinder.internal_tenant_quota_gigabytes,
            **cinder.internal_tenant_quotas,
        }
        limits = {INTERNAL_PROJECT: unlimited | tenant, STORE_PROJECT: unlimited, **cinder.quotas}
        default = unlimited | limits.pop("default", {})
        for resource, limit in default.items():
            try:
                db_api.quota_class_update(admin(), "default", resource, _limit(limit))
            except exception.QuotaClassNotFound:
                db_api.quota_class_create(admin(), "default", resource, _limit(limit))
        for project, of_project in limits.items():
            for resource, limit in of_project.items():
                db_api.quota_create(admin(), project, resource, _limit(limit))

    def _start(self, name: str, service: Service) -> None:
        tiers = tuple(self.scenario.backends[name].volume_types)
        service.manager = volume_manager.VolumeManager(
            volume_driver=f"{SimDriver.__module__}.{SimDriver.__name__}",
            service_name=name,
            host=service.host,
            cluster=service.cluster,
        )
        service.manager._add_to_threadpool = lambda *_args, **_kwargs: None
        service.manager.driver.connect(service.array, tiers, self, service.position, service.queues)
        row = objects.Service.get_by_args(admin(), service.host, "cinder-volume")
        service.manager.init_host(service_id=row.id)
        if not service.manager.driver.initialized:
            raise RuntimeError(f"backend {name} does not start")

    def _put(self, host: str, size: int, project: str, gib: float, version: Any, **values: Any) -> Any:
        """A volume in the database and on its array."""
        backend, _, pool = host.partition("#")
        tier = self.scenario.backends[backend].volume_types[0]
        volume = objects.Volume(
            context=admin(),
            **{
                "size": size,
                "user_id": project,
                "project_id": project,
                "status": "available",
                "attach_status": fields.VolumeAttachStatus.DETACHED,
                "launched_at": self.start,
                **self._inside(host),
                "volume_type_id": self.types[tier],
                **values,
            },
        )
        volume.create()
        try:
            self.services[backend][0].array.put(volume.id, pool, size, gib, version)
        except exception.VolumeBackendAPIException:
            volume.destroy()
            raise
        return volume

    def _put_initial(self) -> None:
        for row in self.case.initial.itertuples():
            cached = row.kind == "cache"
            image = self.glance.images.get(image_uuid(row.image_id)) if row.image_id else None
            version = (image_uuid(row.image_id), image.version) if image else None
            project = INTERNAL_PROJECT if cached else row.project or "project"
            name = {"display_name": f"image-{image_uuid(row.image_id)}"} if cached else {}
            gib = image.virtual_gib if image else 0.0
            volume = self._put(row.host, int(row.size_gib), project, gib, version, **name)
            self.initial[row.volume_id] = volume.id, project
            if not cached:
                continue
            assert image is not None
            entry = db_api.image_volume_cache_create(
                admin(),
                volume.host,
                volume.cluster_name,
                image_uuid(row.image_id),
                image.updated_at.replace(tzinfo=None),
                volume.id,
                volume.size,
            )
            used = self.start + datetime.timedelta(seconds=float(row.last_used))
            with db_api.main_context_manager.writer.using(admin()) as session:
                session.merge(entry).last_used = used

    # The Cinder store

    def _put_store(self) -> None:
        for image in self.glance.images.values():
            for volume_id in self.keep(image):
                self.glance.locate(image, volume_id, first=True)

    def asks(self, image: GlanceImage, store_id: str | None) -> str | None:
        """The volume type of the image-volume that Glance asks Cinder for in an upload; None: it does not."""
        store = self.scenario.stores[store_id] if store_id else self.scenario.store
        asks = self.strategy in PLACED and not image.spec.store_hosts and store is not None
        return store.volume_type if asks else None

    def keep(self, image: GlanceImage, store_id: str | None = None) -> list[str]:
        """Make an image's volumes in a store of Glance, or none if one of them does not fit."""
        kept: list[Any] = []
        try:
            for host in self._store_hosts(image.spec):
                kept.append(self._put_image(host, image, image.status == "saving"))
        except (exception.VolumeBackendAPIException, exception.QuotaError):
            for volume in kept:
                self._at(volume).array.remove(volume.id)
                volume.destroy()
                self.take_quota(volume.project_id, -volume.size, volume.volume_type_id)
            raise
        for volume in kept:
            manager = self._at(volume).manager
            if manager is not None:  # else it counts what there is when it starts
                manager._update_allocated_capacity(volume)
        return [volume.id for volume in kept]

    def _store_hosts(self, spec: Any) -> list[str]:
        if self.strategy not in WITH_STORE:
            return []
        if self.strategy == "replicated-store":
            return list(self.scenario.pools()) if spec.disk_format == "raw" else []
        return list(spec.store_hosts) or self._home

    @property
    def _home(self) -> list[str]:
        return [self.scenario.store.home] if self.scenario.store and self.scenario.store.home else []

    def _put_image(self, host: str, image: GlanceImage, asks: bool) -> Any:
        """`asks`: Glance asks Cinder's API for the volume."""
        uuid, spec = image_uuid(image.spec.image_id), image.spec
        project = self.store_project
        size = image_gib(spec.size_bytes)
        type_id = self.types[self.scenario.backend_at(host).volume_types[0]]
        if asks:
            self.take_quota(project, size, type_id)
        try:
            return self._put(
                host,
                size,
                project,
                spec.size_bytes / GIB,
                (uuid, image.version) if spec.disk_format == "raw" else (uuid,),
                display_name=f"image-{uuid}",
                metadata={"image_owner": image.owner, "glance_image_id": uuid},
            )
        except exception.VolumeBackendAPIException:
            self.take_quota(project, -size, type_id)
            raise

    def take_quota(self, project: str, size: int, type_id: str) -> None:
        """The quota of a new volume, as the API takes it; a negative size gives it back."""
        context = user(project)
        if size > 0:
            reserved = api_flow.QuotaReserveTask().execute(context, size, type_id, None, {})
            reservations = reserved["reservations"]
        else:
            deltas = {"volumes": -1, "gigabytes": size}
            quota.QUOTAS.add_volume_type_opts(context, deltas, type_id)
            reservations = quota.QUOTAS.reserve(context, **deltas)
        api_flow.QuotaCommitTask().execute(context, reservations, {}, {})

    # Hosts: `node@backend#pool` within Cinder, `backend#pool` outside

    def _inside(self, host: str) -> dict[str, Any]:
        """Host and cluster name of a volume on a pool before a service has taken it."""
        backend, _, pool = host.partition("#")
        first = self.services[backend][0]
        cluster = {"cluster_name": f"{first.cluster}#{pool}"} if first.cluster else {}
        return {"host": f"{first.host}#{pool}", **cluster}

    @staticmethod
    def _outside(host: str | None) -> str:
        return (host or "").partition("@")[2]

    def _at(self, volume: Any) -> Service:
        """The service that made a volume, and takes its other messages."""
        return self.services[self._backend(volume)][self.makers.get(volume.id, 0)]

    def _next(self, volume: Any) -> Service:
        """The service that takes the next create of a volume's backend."""
        backend = self._backend(volume)
        services = self.services[backend]
        service = services[self.turns[backend] % len(services)]
        self.turns[backend] += 1
        self.makers[volume.id] = service.position
        return service

    def _backend(self, volume: Any) -> str:
        return self._outside(volume.host).partition("#")[0]

    @staticmethod
    def _on_node(service: Service) -> Service:
        """The current greenlet runs on its node from now on."""
        here: Any = greenlet.getcurrent()
        here.node = service.node
        return service
