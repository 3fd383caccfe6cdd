"""The cinder-scheduler: Cinder's `FilterScheduler` and `HostManager`, with the backends' reports."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar

from cinder.message import api as message_api
from cinder.scheduler import filter_scheduler, manager, weights
from cinder.scheduler.flows.create_volume import ScheduleCreateVolumeTask

from sim.cinder.addresses import cluster_of, host_on, scenarios_own, scope
from sim.cinder.database import Context, Database, Volume
from sim.cinder.glance import Glance
from sim.cinder.manager import VolumeManager
from sim.cinder.quotas import Reservation
from sim.cinder.services import Services
from sim.inputs.backend import Backend
from sim.inputs.scenario import Scenario
from sim.inputs.strategies import Strategy
from sim.model.repeats import repeats


class Service(dict[str, Any]):
    """A row of `services`: a running cinder-volume."""

    is_up = True

    def __init__(self, host: str, cluster_name: str | None, availability_zone: str) -> None:
        super().__init__(host=host, availability_zone=availability_zone, disabled=False)
        self.host, self.cluster_name = host, cluster_name
        self.service_topic_queue = cluster_name or host


class ServiceList:
    """Stands for `cinder.objects.ServiceList`: the cinder-volume services, in the scenario's order.

    Nodes that share a host share a row.
    """

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self.objects = [
            Service(host, cluster_of(name, spec), spec.availability_zone)
            for name, spec in backends.items()
            for host in dict.fromkeys(host_on(node, name, spec) for node in range(len(spec.node_names)))
        ]

    def get_all(self, context: Any, filters: dict[str, Any]) -> ServiceList:
        return self


class Clones:
    """The places at which an image can be cloned now."""

    def __init__(self, services: Services, glance: Glance, db: Database, strategy: Strategy) -> None:
        self._services = services
        self._glance = glance
        self._db = db
        self._uses_store = strategy.uses_store

    @repeats("cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask", "_clone_image_volume")
    @repeats("cinder.image.cache:ImageVolumeCache", "get_entry")
    def on(self, host: str, image_id: str | None, project: str) -> bool:
        """Whether a project gets a clone on a pool: from its driver, the Cinder store or the cache.

        It follows `CreateVolumeFromSpecTask._clone_image_volume` and `ImageVolumeCache.get_entry`.
        """
        found = self._glance.images.get(image_id or "")
        if found is None:
            return False
        image, manager = found.image, self._services.at(host)[0]
        array = manager.array
        if image.disk_format == "raw" and array.spec.driver_clones_raw:
            return True
        raw = image.disk_format == "raw" and image.container_format == "bare"
        locations = self._glance.locations(image.image_id, project) if self._uses_store else []
        may = [each for each in locations if raw or each.id in found.marked]
        if not array.spec.clone_across_pools:
            may = [each for each in may if each.pool == host]
        newest = max(may, key=lambda volume: volume.number, default=None)
        if newest is not None and newest.pool in array.pools:
            return True
        cache = manager.image_volume_cache
        across = array.spec.clone_across_pools and not array.spec.cluster
        entry = self._db.entry(image.image_id, **({} if across else scope(host, array.spec)))
        if cache is None or cache.holds_locations or entry is None or entry["pool"] not in array.pools:
            return False
        return not cache._should_update_entry(entry, {"updated_at": found.updated_at.replace(tzinfo=UTC)})


class CloneWeigher(weights.BaseHostWeigher):  # type: ignore[misc]
    """A weigher that Cinder lacks: pools that can clone the requested image now come first.

    It would be a new module in cinder/scheduler/weights/, with an entry point in setup.cfg; the scheduler
    would have to ask Glance for the image. Its multiplier outweighs the other weighers together, which decide
    among equals. A request for an encrypted volume can be cloned nowhere.
    """

    clones: ClassVar[Clones]
    multiplier: ClassVar[float]

    def weight_multiplier(self) -> float:
        return self.multiplier

    def _weigh_object(self, host_state: Any, weight_properties: dict[str, Any]) -> float:
        spec = weight_properties["request_spec"]
        volume, image_id = spec["volume_properties"], spec.get("image_id")  # an extension has none
        if volume["encryption_key_id"]:
            return 0.0
        return float(self.clones.on(scenarios_own(host_state.host), image_id, volume["project_id"]))


class ToldScheduler(filter_scheduler.FilterScheduler):  # type: ignore[misc]
    """Cinder's scheduler. A request's `first_host` is its choice for the first attempt, in any case.

    It then asks no filter and no weigher; it counts the pool as chosen and notes the retry, as always.
    """

    def _schedule(
        self, context: Context, request_spec: dict[str, Any], filter_properties: dict[str, Any] | None = None
    ) -> Any:
        first_host = request_spec.pop("first_host", "")
        if not first_host:
            return super()._schedule(context, request_spec, filter_properties)
        self._populate_retry(filter_properties, request_spec)
        self.host_manager.get_all_backend_states(context.elevated())
        backend, _, pool = first_host.partition("#")
        states = self.host_manager.backend_state_map.items()
        state = next(each for key, each in states if scenarios_own(key) == backend).pools[pool]
        return self._choose_top_backend([weights.WeighedHost(state, 0.0)], request_spec)


def request_spec_of(volume: Volume, image_id: str, zones: list[str]) -> dict[str, Any]:
    """What the API asks of the scheduler (`VolumeCastTask`), as far as this code looks at it."""
    return {
        "volume_id": volume.id,
        "image_id": image_id or None,
        "availability_zones": zones,
        "volume_properties": {
            "size": volume.size,
            "volume_type_id": volume.volume_type_id,
            "encryption_key_id": volume.encryption_key_id,
            "project_id": volume.project_id,
        },
        "volume_type": {
            "id": volume.volume_type_id,
            "name": volume.volume_type_id,
            "extra_specs": {"volume_backend_name": volume.volume_type_id},
        },
    }


class SchedulerManager(manager.SchedulerManager):  # type: ignore[misc]
    """Cinder's own manager of the scheduler. Only extensions run here."""

    def __init__(self, driver: ToldScheduler) -> None:
        # The parent's __init__ is not called: it connects to the message bus and waits for reports.
        self.driver = driver
        self.message_api = message_api.API()


class Scheduler:
    """Places volumes, as the scheduler's manager does with `ScheduleCreateVolumeTask`."""

    def __init__(self, services: Services, clones: Clones, scenario: Scenario) -> None:
        self._services = services
        self._driver = ToldScheduler()
        if scenario.what_if.prefer_clones:
            known = {"clones": clones, "multiplier": scenario.cinder.preference()}
            weigher = type(CloneWeigher.__name__, (CloneWeigher,), known)
            self._driver.host_manager.weight_classes.append(weigher)
        self._task = ScheduleCreateVolumeTask(self._driver)
        self._manager = SchedulerManager(self._driver)
        self._seen: dict[str, datetime | None] = {}

    @repeats("cinder.scheduler.manager:SchedulerManager", "create_volume")
    def create_volume(
        self,
        context: Context,
        volume: Volume,
        request_spec: dict[str, Any],
        filter_properties: dict[str, Any],
    ) -> None:
        """Choose a pool and have the volume made there; without a pool, the volume's status is `error`."""
        self._hear()
        self._task.execute(context, request_spec, filter_properties, volume)

    def extend_volume(
        self,
        context: Context,
        volume: Volume,
        new_size: int,
        reservations: list[Reservation],
        request_spec: dict[str, Any],
    ) -> None:
        """Have a volume extended if its pool passes the filters; if not, it is as before.

        If a filter or a weigher raises another exception, as in a create, the volume stays `extending`: the
        service would log it.
        """
        self._hear()
        with suppress(ZeroDivisionError, ValueError):
            self._manager.extend_volume(context, volume, new_size, reservations, request_spec)

    def _hear(self) -> None:
        """Let the scheduler have the reports that came since its last decision."""
        for name, managers in self._services.by_backend.items():
            manager = max(managers, key=lambda manager: manager.reported_at or datetime.min)
            if self._seen.get(name) is not manager.reported_at:
                self._seen[name] = manager.reported_at
                self._deliver(manager)

    def _deliver(self, manager: VolumeManager) -> None:
        """The scheduler keeps the last of the reports of a backend's nodes."""
        types = list(manager.array.spec.volume_types)
        capabilities = {
            "volume_backend_name": types[0] if len(types) == 1 else types,
            "vendor_name": "simulated",
            "driver_version": "1",
            "storage_protocol": "simulated",
            "pools": manager.pool_stats(),
        }
        self._driver.update_service_capabilities(
            "volume", manager.host, capabilities, manager.cluster, manager.reported_at
        )
