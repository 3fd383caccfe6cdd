"""The cinder-scheduler: Cinder's `FilterScheduler` and `HostManager`, fed with the backends' reports."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cinder.scheduler import filter_scheduler
from cinder.scheduler.flows.create_volume import ScheduleCreateVolumeTask

from sim.cinder.database import Context, Volume
from sim.cinder.manager import VolumeManager


class Service(dict[str, Any]):
    """A row of `services`: a cinder-volume that is up."""

    is_up = True
    cluster_name = None

    def __init__(self, backend: str) -> None:
        super().__init__(host=backend, availability_zone="nova", disabled=False)
        self.host = self.service_topic_queue = backend


class ServiceList:
    """Stands for `cinder.objects.ServiceList`: the cinder-volume services, in the scenario's order."""

    def __init__(self, backends: list[str]) -> None:
        self.objects = [Service(backend) for backend in backends]

    def get_all(self, context: Any, filters: dict[str, Any]) -> ServiceList:
        return self


class Scheduler:
    """Places volumes, as the scheduler's manager does with `ScheduleCreateVolumeTask`."""

    def __init__(self, managers: dict[str, VolumeManager]) -> None:
        self._managers = managers
        self._driver = filter_scheduler.FilterScheduler()
        self._task = ScheduleCreateVolumeTask(self._driver)
        self._seen: dict[str, datetime | None] = {}

    def create_volume(
        self,
        context: Context,
        volume: Volume,
        request_spec: dict[str, Any],
        filter_properties: dict[str, Any],
    ) -> None:
        """Choose a pool and have the volume made there; without one, the volume's status is `error`."""
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
