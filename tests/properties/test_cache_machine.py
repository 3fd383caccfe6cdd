"""Cinder's cache driven live: events at will, time in steps, and a look after each."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sim.inputs.scenario import BadInput

from .cases import creates, image, one_pool, scenarios
from .live import Live

NUMBERS = st.integers(0, 3)
HOSTS = st.sampled_from(("a#p0", "a#p0", "a#p1"))
WAITS = st.sampled_from((0.0, 20.0, 0.5, 1.0, 5.0, 100.0))


class TimedMachine(RuleBasedStateMachine):
    """Any scenario, everything takes its time: the watch knows what must hold at each step."""

    live: Live | None = None

    @initialize(
        drawn=scenarios(),
        strategy=st.sampled_from(("cache-only", "combined")),
        count=st.sampled_from((1, 2, 3, 0)),
    )
    def begin(self, drawn: Any, strategy: str, count: int) -> None:
        scenario, images = drawn
        for backend in scenario["backends"].values():
            backend["image_volume_cache_max_count"] = count
        try:
            self.live = Live(scenario, images, strategy)
        except BadInput:  # the store's image-volumes do not fit
            scenario = {key: value for key, value in scenario.items() if key != "store"}
            images = [{**each, "store_hosts": ""} for each in images]
            self.live = Live(scenario, images, strategy)
        self.scenario, self.images = scenario, images
        self.made: list[str] = []
        self.number = 0

    @rule(data=st.data(), each=st.booleans(), count=st.sampled_from((2, 1, 3)), seconds=WAITS)
    def create(self, data: st.DataObject, each: bool, count: int, seconds: float) -> None:
        """A storm of one image, or of each image there is."""
        row = data.draw(creates(self.scenario, self.images))
        for number in range(count):
            columns = {key: value for key, value in row.items() if key not in ("event", "time")}
            if each and columns["image_id"]:
                columns["image_id"] = self.images[number % len(self.images)]["image_id"]
            self._create(columns)
        self.advance(seconds)

    @rule(data=st.data(), which=st.lists(NUMBERS, min_size=2, max_size=8), seconds=WAITS)
    def creates_one_by_one(self, data: st.DataObject, which: list[int], seconds: float) -> None:
        """Creates of several images in one pool, as far apart as drawn."""
        row = data.draw(creates(self.scenario, self.images))
        columns = {key: value for key, value in row.items() if key not in ("event", "time")}
        for number in which:
            self._create({**columns, "image_id": self.images[number % len(self.images)]["image_id"]})
            self.advance(seconds)

    def _create(self, columns: dict[str, Any]) -> None:
        assert self.live
        self.made.append(f"v{self.number}")
        self.live.happen("create", **{**columns, "volume_id": self.made[-1]})
        self.number += 1

    @precondition(lambda self: getattr(self, "made", ()))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        assert self.live
        name = self.made.pop(data.draw(st.integers(0, len(self.made) - 1)))
        self.live.happen("delete", volume_id=name)

    @rule(number=NUMBERS)
    def update_image(self, number: int) -> None:
        assert self.live
        self.live.happen("update_image", image_id=f"i{number}")

    @rule(number=NUMBERS, really=st.sampled_from((False, False, True)))
    def delete_image(self, number: int, really: bool) -> None:
        assert self.live
        if really:
            self.live.happen("delete_image", image_id=f"i{number}")

    @rule(seconds=WAITS)
    def advance(self, seconds: float) -> None:
        assert self.live
        self.live.advance(seconds)

    @rule()
    def settle(self) -> None:
        assert self.live
        self.live.settle()
        assert not self.live.sim._live
        assert not any(self.live.watch.admitted.values())

    @invariant()
    def nothing_broken(self) -> None:
        assert self.live is None or not self.live.watch.broken

    def teardown(self) -> None:
        if self.live is None:
            return
        try:
            self.live.settle()
            broken = self.live.watch.broken
            left = sorted(self.live.sim._live)
        finally:
            self.live.close()
        assert not broken
        assert not left


class InstantMachine(RuleBasedStateMachine):
    """Where nothing takes time the cache is a plain LRU, which a few lines of a model can follow."""

    live: Live | None = None
    SIZES = (1, 2, 3, 1)

    @initialize(count=st.sampled_from((0, 1, 2, 3)), size=st.sampled_from((0, 2, 3, 4)))
    def begin(self, count: int, size: int) -> None:
        scenario = one_pool(
            pools={"p0": {}, "p1": {}},
            image_volume_cache_max_count=count,
            image_volume_cache_max_size_gb=size,
        )
        self.live = Live(scenario, [image(f"i{n}", gib) for n, gib in enumerate(self.SIZES)], "cache-only")
        self.count, self.size = count, size
        self.pools: dict[str, OrderedDict[int, int]] = {"a#p0": OrderedDict(), "a#p1": OrderedDict()}
        self.versions: list[int | None] = [0, 0, 0, 0]
        self.expected: dict[str, str] = {}

    @rule(which=st.lists(NUMBERS, min_size=1, max_size=6), host=HOSTS, encrypted=st.sampled_from((0, 0, 1)))
    def create(self, which: list[int], host: str, encrypted: int) -> None:
        assert self.live
        for number in which:
            name = f"v{len(self.expected)}"
            self.expected[name] = self._predicted(number, self.pools[host], bool(encrypted))
            row = {"volume_id": name, "image_id": f"i{number}", "size_gib": 5, "volume_type": "flash"}
            self.live.happen("create", **row, host=host, encrypted=bool(encrypted))
            self.live.advance()
            self.as_predicted()

    def _predicted(self, number: int, used: OrderedDict[int, int], encrypted: bool) -> str:
        version = self.versions[number]
        if version is None:
            return "none"
        if encrypted:
            return "download"
        if used.get(number) == version:
            used.move_to_end(number)
            return "cache"
        used.pop(number, None)
        if self.size and self.SIZES[number] > self.size:
            return "download"
        while used and (
            0 < self.count <= len(used)
            or 0 < self.size < sum(self.SIZES[each] for each in used) + self.SIZES[number]
        ):
            used.popitem(last=False)
        used[number] = version
        return "download"

    @rule(number=NUMBERS)
    def update_image(self, number: int) -> None:
        assert self.live
        if self.versions[number] is not None:
            self.versions[number] += 1
        self.live.happen("update_image", image_id=f"i{number}")
        self.live.advance()

    @rule(number=NUMBERS, really=st.sampled_from((False, False, False, True)))
    def delete_image(self, number: int, really: bool) -> None:
        assert self.live
        if really:
            self.versions[number] = None
            self.live.happen("delete_image", image_id=f"i{number}")
            self.live.advance()

    @rule(name=st.integers(0, 30).map("v{}".format))
    def delete(self, name: str) -> None:
        assert self.live
        if name in self.live.sim.db.volumes:
            self.live.happen("delete", volume_id=name)
            self.live.advance()

    @rule(seconds=st.sampled_from((0.0, 1.0, 100.0)))
    def advance(self, seconds: float) -> None:
        assert self.live
        self.live.advance(seconds)

    @invariant()
    def as_predicted(self) -> None:
        if self.live is None:
            return
        assert not self.live.watch.broken
        assert self.live.sources() == self.expected
        for host, used in self.pools.items():
            entries = self.live.sim.db.image_volume_cache_get_all(None, host)
            assert [entry["image_id"] for entry in reversed(entries)] == [f"i{number}" for number in used]
            times = [entry["last_used"] for entry in entries]
            assert times == sorted(set(times), reverse=True)

    def teardown(self) -> None:
        if self.live is not None:
            self.live.close()


TestTimed = TimedMachine.TestCase
TestInstant = InstantMachine.TestCase
