"""Queues: so many at once, and the others wait, first come first served."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sim.cinder.clock import Clock, Process, current_process
from sim.model.rules import bound_of

AT_ONCE = nullcontext()  # a turn where nobody waits


class Turns:
    """Turns that at most `limit` processes have at once (None: any number), each handed over directly."""

    def __init__(self, clock: Clock, limit: int | None) -> None:
        self._clock = clock
        self._limit = bound_of(limit)
        self._taken = 0
        self._waiting: deque[Process] = deque()

    def __enter__(self) -> None:
        if self._taken < self._limit:
            self._taken += 1
            return
        self._waiting.append(current_process())
        self._clock.park()

    def __exit__(self, *_: object) -> None:
        if self._waiting:
            self._clock.wake(self._waiting.popleft())
        else:
            self._taken -= 1

    @property
    def idle(self) -> bool:
        """Whether nobody has a turn."""
        return self._taken == 0


class CloneTurns:
    """Who may clone now on an array: `clone_lock` and `clone_streams` of its backend.

    A clone waits for the lock of its source, then for a stream of the array.
    """

    def __init__(self, clock: Clock, of_source: bool, streams: int | None) -> None:
        self._clock = clock
        self._limit = 1 if of_source else None
        self._streams = Turns(clock, streams)
        self._limits = of_source or streams is not None
        self._locks: dict[str, Turns] = {}

    def turn(self, source_id: str) -> AbstractContextManager[None]:
        """A turn to clone this volume."""
        return self._turn(source_id) if self._limits else AT_ONCE

    @contextmanager
    def _turn(self, source_id: str) -> Iterator[None]:
        lock = self._locks.setdefault(source_id, Turns(self._clock, self._limit))
        since = self._clock.now
        try:
            with lock, self._streams:
                self._waited(since)
                yield
        finally:
            if lock.idle:
                self._locks.pop(source_id, None)

    @contextmanager
    def stream(self) -> Iterator[None]:
        """A stream for a clone that has no volume as its source."""
        since = self._clock.now
        with self._streams:
            self._waited(since)
            yield

    def _waited(self, since: float) -> None:
        current_process().request.clone_wait_s += self._clock.now - since
