"""The cinder-volume services of a cloud: one on each node of each backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle

from sim.cinder.database import Volume
from sim.cinder.manager import VolumeManager
from sim.inputs.hosts import backend_of


class Services:
    """The services by backend, each backend's in the order of its nodes."""

    def __init__(self, by_backend: Mapping[str, Sequence[VolumeManager]]) -> None:
        self.by_backend = by_backend
        self._turns = {name: cycle(services) for name, services in by_backend.items()}

    def __iter__(self) -> Iterator[VolumeManager]:
        """All of them, in the scenario's order."""
        return (service for services in self.by_backend.values() for service in services)

    def at(self, host: str) -> Sequence[VolumeManager]:
        """The services of a pool's backend (backend#pool)."""
        return self.by_backend[backend_of(host)]

    def next(self, volume: Volume) -> VolumeManager:
        """The service that takes the next create of a volume's backend: its services do so in turn."""
        return next(self._turns[backend_of(volume.pool)])

    def of(self, volume: Volume) -> VolumeManager:
        """The service that made a volume. It takes the volume's other messages."""
        return self.at(volume.pool)[volume.node]
