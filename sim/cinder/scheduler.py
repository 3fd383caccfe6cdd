"""The cinder-scheduler: Cinder's `FilterScheduler` and `HostManager`, with the backends' reports."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from cinder.scheduler import filter_scheduler, weights
from cinder.scheduler.flows.create_volume import ScheduleCreateVolumeTask

from sim.cinder.database import Context, Database, Volume
from sim.cinder.glance import Glance
from sim.cinder.manager import VolumeManager
from sim.inputs.hosts import backend_of
from sim.inputs.scenario import Backend, Scenario
from sim.inputs.strategies import Strategy
from sim.model.repeats import repeats


class Service(dict[str, Any]):
    """A row of `services`: a running cinder-volume."""

    is_up = True
    cluster_name = None

    def __init__(self, backend: str, availability_zone: str) -> None:
        super().__init__(host=backend, availability_zone=availability_zone, disabled=False)
        self.host = self.service_topic_queue = backend


class ServiceList:
    """Stands for `cinder.objects.ServiceList`: the cinder-volume services, in the scenario's order."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self.objects = [Service(name, backend.availability_zone) for name, backend in backends.items()]

    def get_all(self, context: Any, filters: dict[str, Any]) -> ServiceList:
        return self


class Clones:
    """The places at which an image can be cloned now."""

    def __init__(
        self, managers: dict[str, VolumeManager], glance: Glance, db: Database, strategy: Strategy
    ) -> None:
        self._managers = managers
        self._glance = glance
        self._db = db
        self._uses_store = strategy.uses_store

    @repeats("cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask", "_clone_image_volume")
    @repeats("cinder.image.cache:ImageVolumeCache", "get_entry")
    def on(self, host: str, image_id: str | None, project: str) -> bool:
        """Whether a project gets a clone on a host: from its driver, the Cinder store or the cache.

        It follows `CreateVolumeFromSpecTask._clone_image_volume` and `ImageVolumeCache.get_entry`.
        """
        found = self._glance.images.get(image_id or "")
        if found is None:
            return False
        image, manager = found.image, self._managers[backend_of(host)]
        if image.disk_format == "raw" and manager.array.spec.driver_clones_raw:
            return True
        raw = image.disk_format == "raw" and image.container_format == "bare"
        locations = self._glance.locations(image.image_id, project) if self._uses_store else []
        if any(volume.host == host and (raw or volume.id in found.marked) for volume in locations):
            return True
        cache = manager.image_volume_cache
        entry = self._db.entry(host, image.image_id)
        if cache is None or cache.holds_locations or entry is None:
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
        volume = spec["volume_properties"]
        if volume["encryption_key_id"]:
            return 0.0
        return float(self.clones.on(host_state.host, spec["image_id"], volume["project_id"]))


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
        state = self.host_manager.backend_state_map[backend].pools[pool]
        return self._choose_top_backend([weights.WeighedHost(state, 0.0)], request_spec)


class Scheduler:
    """Places volumes, as the scheduler's manager does with `ScheduleCreateVolumeTask`."""

    def __init__(self, managers: dict[str, VolumeManager], clones: Clones, scenario: Scenario) -> None:
        self._managers = managers
        self._driver = ToldScheduler()
        if scenario.what_if.prefer_clones:
            known = {"clones": clones, "multiplier": scenario.cinder.preference()}
            weigher = type(CloneWeigher.__name__, (CloneWeigher,), known)
            self._driver.host_manager.weight_classes.append(weigher)
        self._task = ScheduleCreateVolumeTask(self._driver)
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
        for name, manager in self._managers.items():
            if self._seen.get(name) is not manager.reported_at:
                self._seen[name] = manager.reported_at
                self._deliver(name, manager)
        self._task.execute(context, request_spec, filter_properties, volume)

    def _deliver(self, name: str, manager: VolumeManager) -> None:
        types = list(manager.array.spec.volume_types)
        capabilities = {
            "volume_backend_name": types[0] if len(types) == 1 else types,
            "vendor_name": "simulated",
            "driver_version": "1",
            "storage_protocol": "simulated",
            "pools": manager.pool_stats(),
        }
        self._driver.update_service_capabilities("volume", name, capabilities, None, manager.reported_at)
