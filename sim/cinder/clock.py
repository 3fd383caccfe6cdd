"""Simulated time for blocking code: a SimPy environment in which greenlets wait.

Cinder's code is synchronous: it blocks in the driver, in Glance and on locks. Each request runs in a
greenlet (`Process`), and every blocking call parks it until an event fires. An instant's events run in this
order: reports, the trace's events, then everything else in the order in which it was scheduled.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from operator import attrgetter
from typing import Any, cast

import simpy
from greenlet import GreenletExit, getcurrent, greenlet

REPORT, TRACE = -2, -1  # SimPy's own events have priority 0 and 1
LATER = 1  # as SimPy's timeouts: in the order in which they were scheduled
TICK = timedelta(microseconds=1)


class Process(greenlet):
    """A greenlet of simulated Cinder: a request, a delete. When it has ended, it serves the next one.

    `request` is the create that it works for (None for deletes), `node` the cinder-volume node on which it
    runs. `phase` is the current step of the image-volume cache: the reason for an entry that goes now.
    """

    request: Any
    node: str
    phase: str

    def begin(self) -> None:
        """Forget what it worked for."""
        self.request, self.node, self.phase = None, "", ""


NOW = attrgetter("_now")  # of a clock; SimPy's own `now` takes twice as long
current_process = cast(Callable[[], Process], getcurrent)


class Clock(simpy.Environment):
    """SimPy's environment, with greenlets as processes, and the time that Cinder reads.

    Most events only call a function. Its queue has these functions themselves, which takes a third of the
    time of a `Timeout`.
    """

    now = property(NOW)

    def __init__(self, start: datetime) -> None:
        super().__init__()
        self._start = start
        self._last = start - TICK
        self._read_at = -1.0  # the time of the last reading
        self._closed = False
        self._idle: list[Process] = []
        self._hub = getcurrent()  # processes events; a process returns to it to wait

    def at(self, time: float, callback: Callable[[Any], Any], priority: int) -> None:
        """Call `callback` at `time` exactly (a delay from now would round)."""
        heappush(self._queue, (time, priority, next(self._eid), callback))  # type: ignore[misc]

    def step(self) -> None:
        """Process the next event: SimPy's own, or a function."""
        queue = self._queue
        if not queue or isinstance(queue[0][3], simpy.Event):
            super().step()
        else:
            self._now, _, _, callback = heappop(queue)
            callback(None)

    def cast(self, function: Callable[..., Any], *args: Any) -> None:
        """Run `function(*args)` in a process of its own, later in this instant (an RPC cast)."""
        self.at(self._now, lambda _: self.start(function, *args), LATER)

    def start(self, function: Callable[..., Any], *args: Any) -> None:
        """Run `function(*args)` in a process of its own, now, until it first waits."""
        # To make a greenlet takes ten times as long as to switch to one that is there.
        process = self._idle.pop() if self._idle else Process(self._serve, self._hub)
        process.switch(function, args)

    def _serve(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        while True:  # the process has no name here: one that held itself would never be freed
            current_process().begin()
            try:
                function(*args)
            except Exception as error:
                if (request := current_process().request) is not None:
                    error.add_note(f"in the create of {request.volume_id} at {self.now:,.0f} s")
                raise
            if self._closed:  # nothing else will come
                return
            self._idle.append(current_process())
            function, args = self._hub.switch()

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass for the calling process; a step of 0 s does not wait."""
        if seconds > 0:
            callback = current_process().switch
            heappush(self._queue, (self._now + seconds, LATER, next(self._eid), callback))  # type: ignore[misc]
            self.park()

    def wait(self, event: simpy.Event) -> None:
        """Park the calling process until `event` of SimPy fires."""
        event.callbacks.append(current_process().switch)
        self.park()

    def pause(self) -> None:
        """Let the calling process go on later in this instant."""
        self.wake(current_process())
        self.park()

    def wake(self, process: Process) -> None:
        """Have a parked process go on later in this instant."""
        self.at(self._now, process.switch, LATER)

    def park(self) -> None:
        """Park the calling process until something switches to it."""
        if self._closed:  # an abandoned run unwinds its processes: nothing waits any more
            raise GreenletExit
        self._hub.switch()

    def close(self) -> None:
        """Let no process wait any more; drop waiting processes with their events."""
        self._closed = True
        self._queue.clear()
        self._idle.clear()

    def utcnow(self, with_timezone: bool = False) -> datetime:
        """The time as Cinder reads it (`oslo_utils.timeutils.utcnow`), each reading later than the last.

        A real cloud never has two equal readings; ties would undo `consume_from_volume` and leave the LRU
        order to chance.
        """
        if self._now == self._read_at:  # the last reading was not before this time
            self._last += TICK
        else:
            self._read_at = self._now
            time = self._start + timedelta(0, self._now)
            self._last = time if time > self._last else self._last + TICK
        return self._last.replace(tzinfo=UTC) if with_timezone else self._last

    def seconds(self, reading: datetime) -> float:
        """Seconds from the start to a reading."""
        return (reading - self._start).total_seconds()
