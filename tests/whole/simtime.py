"""Simulated time for blocking code: SimPy's clock, and a greenlet per call that may wait."""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import greenlet
import simpy

REPORTS, TRACE, NORMAL = -2, -1, 1
MICROSECOND = datetime.timedelta(microseconds=1)


class Clock:
    """What `oslo_utils.timeutils` reads: strictly increasing, at least 1 us a reading."""

    def __init__(self, env: simpy.Environment, start: datetime.datetime) -> None:
        self.env = env
        self.start = start
        self.last = start - MICROSECOND

    def pop(self, _index: int = 0) -> datetime.datetime:
        now = self.start + datetime.timedelta(seconds=self.env.now)
        self.last = max(now, self.last + MICROSECOND)
        return self.last


class Time:
    """The simulation's time; `checks` are run before a greenlet is parked."""

    def __init__(self) -> None:
        self.env = simpy.Environment()
        self.hub = greenlet.getcurrent()
        self.pending = 0  # greenlets that live, and casts and trace events to come
        self.before_park: Callable[[], None] = lambda: None

    def at(self, time: float, priority: int, call: Callable[[], None]) -> None:
        """`call` in the hub at a time; counted in `pending` unless it is a report."""
        counted = priority != REPORTS
        self.pending += counted

        def fire(_event: simpy.Event) -> None:
            self.pending -= counted
            call()

        event = self.env.event()
        event._ok, event._value = True, None
        event.callbacks.append(fire)
        self.env.schedule(event, priority, time - self.env.now)  # type: ignore[arg-type]

    def cast(self, call: Callable[[], None]) -> None:
        """`call` in a greenlet of its own, at this instant, after what is scheduled by now."""
        self.at(self.env.now, NORMAL, lambda: self.spawn(call))

    def spawn(self, call: Callable[[], None]) -> None:
        """Start `call` at once in a greenlet; only from the hub."""

        def body() -> None:
            try:
                call()
            finally:
                self.pending -= 1

        self.pending += 1
        greenlet.greenlet(body, self.hub).switch()

    def wait(self, event: simpy.Event) -> None:
        """Park the current greenlet until the event; no parking if it has come already."""
        if event.triggered:
            return
        self._park(event)

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._park(self.env.timeout(seconds))

    def _park(self, event: simpy.Event) -> None:
        current = greenlet.getcurrent()
        if current is self.hub:
            raise RuntimeError("the hub cannot wait")
        self.before_park()
        event.callbacks.append(lambda _event: current.switch())
        self.hub.switch()


class Slots:
    """First come, first served; `None` slots: no limit."""

    def __init__(self, time: Time, slots: int | None) -> None:
        self.time = time
        self.resource = simpy.Resource(time.env, slots) if slots is not None else None

    def use(self, *seconds: float, begin: Callable[[], None] = lambda: None) -> None:
        """Take a slot, `begin`, spend the seconds one after another, give the slot back."""
        with self.held():
            begin()
            for each in seconds:
                self.time.sleep(each)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A slot is taken meanwhile."""
        if self.resource is None:
            yield
            return
        request = self.resource.request()
        self.time.wait(request)
        try:
            yield
        finally:
            self.resource.release(request)


class Turns:
    """So many at once; whoever waits longest gets the turn of who is done, at once. `None`: no limit."""

    def __init__(self, time: Time, most: int | None) -> None:
        self.time, self.most, self.taken = time, most, 0
        self.queue: deque[simpy.Event] = deque()

    @contextmanager
    def held(self) -> Iterator[None]:
        """A turn is taken meanwhile."""
        if self.most is not None and self.taken == self.most:
            self.queue.append(self.time.env.event())
            self.time.wait(self.queue[-1])
        else:
            self.taken += 1
        try:
            yield
        finally:
            if self.queue:
                self.queue.popleft().succeed()
            else:
                self.taken -= 1


class Lock:
    """A tooz lock of the simulated coordinator."""

    def __init__(self, of: Coordinator, name: bytes, key: Any) -> None:
        self.time, self.queues, self.draw = of.time, of.queues, of.draw
        self.name, self.key = name, key

    def acquire(self, _blocking: bool = True) -> bool:
        if self.key in self.queues:
            turn = self.time.env.event()
            self.queues[self.key].append(turn)
            self.time.wait(turn)
        else:
            self.queues[self.key] = []
        return True

    def release(self) -> bool:
        """Hand it over directly: whoever is next comes before what this instant schedules later."""
        if queue := self.queues[self.key]:
            queue.pop(int(self.draw() * len(queue))).succeed()
        else:
            del self.queues[self.key]
        return True


class Coordinator:
    """Locks by (scope, name); the scope is that of the greenlet that asks."""

    def __init__(self, time: Time, per_node: bool, draw: Callable[[], float]) -> None:
        self.time, self.per_node = time, per_node
        self.draw = draw  # who is next: a part of those who wait, 0 for the one who came first
        self.queues: dict[Any, list[simpy.Event]] = {}  # of those who wait, of each lock that is held

    def get_lock(self, name: bytes) -> Lock:
        node = getattr(greenlet.getcurrent(), "node", "") if self.per_node else ""
        return Lock(self, name, (node, name))
