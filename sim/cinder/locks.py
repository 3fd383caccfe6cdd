"""The coordinator behind Cinder's own `coordination.synchronized`: locks in simulated time.

It takes the place of tooz's backend (`[coordination] backend_url`). With `lock_scope` `cloud` a name is one
lock for all nodes, with `node` it is one lock for each node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from sim.cinder.clock import Clock, Process, current_process

Key = tuple[str, bytes]  # node ("" for all) and name


class Lock:
    """A named lock (tooz's `Lock` interface: `name`, `acquire`, `release`).

    Cinder's functions around the two methods measure waits for its log. Where there is none, the methods take
    the places of these functions, and get their arguments.
    """

    __slots__ = ("_coordinator", "_key")

    def __init__(self, coordinator: Coordinator, key: Key) -> None:
        self._coordinator, self._key = coordinator, key

    @property
    def name(self) -> bytes:
        return self._key[1]

    def acquire(self, blocking: object = True, *_: object) -> bool:
        """Wait for the lock; record the wait on the request."""
        waiting, key = self._coordinator.waiting, self._key
        if key not in waiting:
            waiting[key] = None
            return True
        clock = self._coordinator.clock
        process, since = current_process(), clock.now
        turns = waiting[key] or deque()
        turns.append(process)
        waiting[key] = turns
        clock.park()
        request = process.request
        if request is not None:
            request.lock_wait_s += clock.now - since
        return True

    def release(self, *_: object) -> None:
        """Hand the lock to a process that waits, see `lock_order`; forget a lock that nobody wants."""
        waiting = self._coordinator.waiting
        turns = waiting[self._key]
        if not turns:
            del waiting[self._key]
            return
        draw = self._coordinator.draw
        chosen = int(draw() * len(turns)) if draw else 0
        process = turns[chosen]
        del turns[chosen]
        self._coordinator.clock.wake(process)


class Coordinator:
    """The part of tooz's coordinator that Cinder calls: `get_lock`. `waiting` has the held locks.

    `draw` gives numbers in [0, 1) that choose among those who wait; None: the one who has waited longest.
    """

    def __init__(self, clock: Clock, by_node: bool, draw: Callable[[], float] | None) -> None:
        self.clock, self.draw = clock, draw
        self.waiting: dict[Key, deque[Process] | None] = {}
        self._by_node = by_node

    def get_lock(self, name: bytes) -> Lock:
        """The lock of that name, in the scope of `lock_scope`."""
        return Lock(self, (current_process().node if self._by_node else "", name))
