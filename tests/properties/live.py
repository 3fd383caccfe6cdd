"""A simulation that is driven from outside, event by event, watched all the while."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from sim.cinder import engine, recorder, standins
from sim.cinder.clock import TRACE
from sim.cinder.watch.books import Watch
from sim.cinder.watch.parts import watching
from sim.inputs.strategies import STRATEGIES

from .cases import COLUMNS, case_of, create

MOST = 500  # creates from an image that a live simulation has room to record
CREATE = (
    "volume_id",
    "snapshot_id",
    "image_id",
    "size_gib",
    "volume_type",
    "host",
    "project",
    "encrypted",
    "first_host",
    "availability_zone",
)


class LiveSimulation(engine.Simulation):
    """Has its services started and waits for events: the trace is not played."""

    def open(self) -> None:
        """All that `run` does before the first event."""
        run, close = self.clock.run, self.clock.close
        self.clock.run = self.clock.close = lambda: None  # not yet
        try:
            self.run()
        finally:
            self.clock.run, self.clock.close = run, close

    def _next(self) -> None: ...


class Live:
    """A live simulation of a scenario. `close` it."""

    def __init__(self, scenario: dict[str, Any], images: list[dict[str, Any]], strategy: str) -> None:
        tier = next(iter(scenario.get("tiers", {"flash": {}})))
        room = [create(0, f"v{n}", images[0]["image_id"], "", volume_type=tier) for n in range(MOST)]
        self.case = case_of(scenario, images, room)
        self.watch = Watch(self.case, strategy)
        self.watch.asked = {}  # the trace is not played
        self._stack = ExitStack()
        try:
            self.sim = LiveSimulation(self.case, STRATEGIES[strategy], parts=watching(self.watch))
            self._stack.enter_context(
                standins.installed(
                    self.case,
                    self.sim.strategy,
                    self.sim.clock,
                    self.sim.db,
                    self.sim.quotas,
                    self.sim.glance,
                    self.sim.volume_rpcapi,
                    False,
                )
            )
            self.sim.open()
        except BaseException:
            self._stack.close()
            raise

    def happen(self, event: str, **columns: Any) -> None:
        """An event of the trace, now; it begins when time goes on, if only by nothing."""
        row = {**COLUMNS, **columns}
        if event == "create":
            self.watch.asked[row["volume_id"]] = row["image_id"]
        now = self.sim.clock.now
        values = [row[name] for name in CREATE]
        self.sim.clock.at(now, lambda _: self.sim._happen(now, event, *values), TRACE)

    def advance(self, seconds: float = 0.0) -> None:
        """Let so much time pass, and everything of its last instant happen."""
        clock = self.sim.clock
        until = clock.now + seconds
        clock.at(until, lambda _: None, TRACE)
        while clock.peek() <= until:
            clock.step()

    def settle(self) -> None:
        """Let everything that is under way come to its end."""
        self.sim.clock.run()

    def sources(self) -> dict[str, str]:
        """What made each volume that was asked for from an image, so far."""
        asked = enumerate(self.watch.asked.items())
        names = recorder.SOURCES
        return {name: names[self.sim.recorder._source[row]] for row, (name, image) in asked if image}

    def close(self) -> None:
        self.sim.clock.close()
        self._stack.close()
