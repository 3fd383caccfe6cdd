"""The coordinator behind Cinder's own `coordination.synchronized`: locks in simulated time.

It takes the place of tooz's backend (`[coordination] backend_url`): with `lock_scope` cloud a lock's
name is one lock for all nodes, with `node` one for each.
"""

from __future__ import annotations

from typing import Any

import simpy

from sim.cinder.clock import Clock, current_process


class Lock:
    """One acquisition of a named lock (tooz's `Lock` interface: `name`, `acquire`, `release`)."""

    def __init__(self, coordinator: Coordinator, name: bytes, key: tuple[str, bytes]) -> None:
        self.name = name
        self._coordinator = coordinator
        self._key = key
        self._turn: Any = None

    def acquire(self, blocking: bool = True) -> bool:
        """Wait for the lock, first come first served; the request's wait is noted on it."""
        coordinator = self._coordinator
        resource = coordinator.locks.get(self._key)
        if resource is None:
            resource = coordinator.locks[self._key] = simpy.Resource(coordinator.clock)
        self._turn = resource.request()
        if not self._turn.triggered:
            since = coordinator.clock.now
            coordinator.clock.wait(self._turn)
            request = current_process().request
            if request is not None:
                request.lock_wait_s += coordinator.clock.now - since
        return True

    def release(self) -> None:
        """Hand the lock over to whoever waits longest; forget a lock that nobody wants."""
        resource = self._coordinator.locks[self._key]
        resource.release(self._turn)
        if not resource.count and not resource.queue:
            del self._coordinator.locks[self._key]


class Coordinator:
    """tooz's coordinator, as far as Cinder asks it: `get_lock`."""

    def __init__(self, clock: Clock, by_node: bool) -> None:
        self.clock = clock
        self.locks: dict[tuple[str, bytes], simpy.Resource] = {}
        self._by_node = by_node

    def get_lock(self, name: bytes) -> Lock:
        """A lock of that name, reaching as far as the scope says."""
        return Lock(self, name, (current_process().node if self._by_node else "", name))
